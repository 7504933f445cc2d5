"""What the tests of pictures and of the page share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from renal.evaluate.comparison import compare
from renal.handover.checked import CheckedCase
from renal.image.volume import write_nifti
from renal.report.comparison import write_comparison
from renal.report.page import write_page
from renal.report.settings import Row
from renal.report.tables import write_tables

from .test_tables import all_grids, score

SHAPE = (8, 24, 32)
SPACING = (5.0, 1.0, 0.75)


def picture(path: Path) -> np.ndarray:
    """(height, width, channels) of a PNG."""
    return plt.imread(path)


def assert_shows_something(path: Path, least: int = 200, most: int = 4000) -> None:
    pixels = picture(path)
    assert least <= min(pixels.shape[:2])
    assert max(pixels.shape[:2]) <= most
    assert pixels[..., :3].std() > 0.01


def coloured(path: Path, colour: str) -> bool:
    """Whether a picture shows a colour in its right third, where the prediction is."""
    pixels = picture(path)[..., :3]
    part = pixels[:, 2 * pixels.shape[1] // 3 :]
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(part - wanted).max(axis=-1) < 0.1).any())


def kits_affine() -> np.ndarray:
    z, y, x = SPACING
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [-z, 0, 0, 0], [0, 0, 0, 1.0]])


def write_cases(folder: Path, names: list[str]) -> dict[str, CheckedCase]:
    """A case with a tumour that was found, one without a tumour, one in which all was missed.

    Predictions are in the folder ``segmentations``.
    """
    random = np.random.default_rng(0)
    cases = {}
    for number, name in enumerate(names):
        truth = np.zeros(SHAPE, np.uint8)
        truth[2:6, 6:16, 5:14] = 1
        if number != 1:
            truth[3:5, 8:12, 7:11] = 2
        prediction = np.zeros_like(truth) if number == 2 else np.roll(truth, 1, axis=2)
        image = random.normal(-100, 100, SHAPE).astype(np.int16)
        data = folder / "data" / name
        write_nifti(data / "imaging.nii.gz", image, kits_affine())
        write_nifti(data / "segmentation.nii.gz", truth, kits_affine())
        write_nifti(folder / "segmentations" / f"{name}.nii.gz", prediction, kits_affine())
        files = str(data / "imaging.nii.gz"), str(data / "segmentation.nii.gz")
        cases[name] = CheckedCase(name, *files, list(SHAPE), list(SPACING))
    return cases


@dataclass(frozen=True)
class Results:
    """Results of some rows on three cases: all that the page and the gallery are made from."""

    folder: Path
    cases: dict[str, CheckedCase]
    methods: dict[str, Row]

    @property
    def scores(self) -> dict[str, Path]:
        return {row: self.folder / row / "scores.csv" for row in self.methods}

    @property
    def segmentations(self) -> dict[str, Path]:
        """Of the first row what `write_cases` made up, of all others the truth."""
        first, *others = self.methods
        return {first: self.folder / "segmentations"} | dict.fromkeys(others, self.folder / "truth")

    def write_page(self, pictures: tuple[Path, ...] = ()) -> Path:
        page = self.folder / "report/index.html"
        tables = self.folder / "tables"
        known = self.segmentations, self.cases, self.methods, tables
        write_page(self.scores, *known, list(pictures), page)
        return page


def make_results(folder: Path, titles: dict[str, str], names: list[str]) -> Results:
    """Rows with their titles on three cases of these names; later rows are better."""
    cases = write_cases(folder, names)
    (folder / "truth").mkdir()
    for name, case in cases.items():
        truth = folder / "truth" / f"{name}.nii.gz"
        truth.write_bytes(Path(case.label_path).read_bytes())
    methods = {
        row: Row(family="tiny", title=title, published=None, trained_on_these="unknown")
        for row, title in titles.items()
    }
    found = Results(folder, cases, methods)
    for place, (row, path) in enumerate(found.scores.items()):
        path.parent.mkdir()
        dices = zip(names, (0.8, 0.5, 0.1), strict=True)
        lines = [
            score(fold, case, dice + 0.1 * place, dice + 0.05 * place, method=row)
            for fold, (case, dice) in enumerate(dices)
        ]
        all_grids(*lines).to_csv(path, index=False)
    scores = list(found.scores.values())
    write_tables(scores, methods, folder / "tables")
    if len(methods) > 1:
        compared = compare(scores, {row: (row,) for row in methods})
        write_comparison(compared, methods, folder / "tables")
    return found
