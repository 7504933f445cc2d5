"""Annotators among themselves: by hand, and on KiTS23's own outlines."""

import csv
from pathlib import Path

import numpy as np
import pytest

from renal.data.instances import readings_of
from renal.data.label_checks import check_place
from renal.errors import InputError
from renal.evaluate.annotators import painted, score_annotators
from renal.evaluate.metrics import case_metrics
from renal.handover.checked import CheckedCase
from renal.image.volume import read_header, read_label, write_nifti
from renal.recipe.schemes import KITS23

REAL = Path(__file__).resolve().parents[4] / "shared/kits23/data/case_00021"
SHAPE, AFFINE = (6, 8, 8), np.diag([-2.0, -1.0, 1.0, 1.0])  # files whose axes are (z, y, x)


def boxed(*spans):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(*span) for span in spans)] = 1
    return mask


KIDNEY = boxed((0, 6), (0, 6), (0, 6))
CYST = boxed((0, 2), (0, 2), (0, 4))
# What one person outlined, and another, who drew the tumour a row wider and the cyst the same.
OUTLINES = {
    "kidney_instance-1": (KIDNEY, KIDNEY),
    "cyst_instance-1": (CYST, CYST),
    "tumor_instance-1": (boxed((0, 2), (0, 2), (0, 2)), boxed((0, 2), (0, 3), (0, 2))),
}


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "case_00000"
    (folder / "instances").mkdir(parents=True)
    for name, masks in OUTLINES.items():
        for number, mask in enumerate(masks, 1):
            path = folder / "instances" / f"{name}_annotation-{number}.nii.gz"
            write_nifti(path, mask, AFFINE)
    write_nifti(folder / "imaging.nii.gz", np.zeros(SHAPE, np.int16), AFFINE)
    header = read_header(folder / "imaging.nii.gz")
    return CheckedCase(
        "case_00000", str(header.path), None, list(header.shape), list(header.spacing)
    )


def scored(tmp_path, *cases, **changed):
    output = tmp_path / "annotators.csv"
    score_annotators(list(cases), readings_of, output, check_place=check_place, **changed)
    with output.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_pair_by_hand(tmp_path, case):
    (row,) = scored(tmp_path, case)
    assert (row["case"], row["first"], row["second"]) == ("case_00000", "1", "2")
    assert float(row["kidney_dice"]) == 1  # by KiTS19's scheme a cyst is kidney
    assert float(row["tumour_dice"]) == pytest.approx(2 * 8 / (8 + 12))
    assert float(row["tumour_volume_error"]) == pytest.approx(8 / 12 - 1, abs=1e-6)
    assert row["tumour_detection"] == "found"


def test_every_metric_that_methods_have(tmp_path, case):
    (row,) = scored(tmp_path, case)
    empty = np.zeros(SHAPE, np.uint8)
    assert list(row)[3:] == list(case_metrics(empty, empty, (1, 1, 1)))


def test_a_tumour_is_painted_over_a_cyst_and_a_cyst_over_the_kidney(case):
    image = read_header(Path(case.image))
    first, second = (painted(r, image, check_place, KITS23) for r in readings_of(image.path))
    counts = [
        np.bincount(label.ravel(order="K"), minlength=4)[1:].tolist() for label in (first, second)
    ]
    # 216 voxels of kidney, of which a cyst of 16, of which the first tumour takes 8.
    assert counts == [[200, 8, 8], [196, 12, 8]]


def test_cases_with_one_reading_are_left_out_and_none_is_told(tmp_path, case):
    for path in (Path(case.image).parent / "instances").glob("*annotation-2*"):
        path.unlink()
    with pytest.raises(InputError, match=r"annotators\.csv: no case was outlined twice"):
        scored(tmp_path, case)


@pytest.mark.parametrize("fault", ["elsewhere", "values"])
def test_an_outline_that_is_wrong_is_named(tmp_path, case, fault):
    path = Path(case.image).parent / "instances/tumor_instance-1_annotation-2.nii.gz"
    affine = AFFINE + np.eye(4, k=3) * 5 if fault == "elsewhere" else AFFINE
    write_nifti(path, KIDNEY * (3 if fault == "values" else 1), affine)
    with pytest.raises(InputError, match=f"^{path}: "):
        scored(tmp_path, case)


@pytest.mark.skipif(not REAL.is_dir(), reason="KiTS23's labels are not here")
def test_the_majority_of_readings_is_the_official_label():
    """KiTS23 takes, instance by instance, what most outlines hold, and paints these alike."""
    official = read_header(REAL / "segmentation.nii.gz")
    readings = readings_of(REAL / "imaging.nii.gz")
    assert len(readings) == 3
    label = np.zeros(official.shape, np.uint8)
    for outlines in zip(*readings, strict=True):
        (tissue,) = {tissue for tissue, _ in outlines}
        masks = [painted([outline], official, check_place, KITS23) > 0 for outline in outlines]
        label[np.sum(masks, axis=0, dtype=np.uint8) >= 2] = KITS23.value_of(tissue)
    assert (label == read_label(official, KITS23)).all()
