"""The labelled cases as a data set of nnU-Net, with our folds as its splits."""

from functools import partial
from pathlib import Path
from typing import Any

from renal.files import write_json
from renal.handover.checked import CheckedCase
from renal.image.volume import read_header, read_label, write_like
from renal.labels import KITS19, Labels
from renal.learn.nnunet.layout import ENDING, LINKED
from renal.parallel import for_each


def write_dataset(
    folds: dict[str, list[CheckedCase]],
    output: Path,
    *,
    regions: bool,
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Write ``dataset.json``, ``splits_final.json`` and the labels; images stay where they are.

    Labels are written anew, uint8 in exactly the geometry of the image, whatever theirs was like.

    Parameters
    ----------
    folds : dict
        Each fold (``fold0``) to the cases that it holds out, in order.
    output : Path
        Folder to write.
    regions : bool
        Whether nnU-Net is to learn the regions that are scored instead of label values.
    labels : Labels
        The scheme of the label maps.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        If a label cannot be read.
    """
    cases = sorted((case for held in folds.values() for case in held), key=lambda case: case.name)
    output.mkdir(parents=True, exist_ok=True)
    for_each(cases, partial(_write_label, output=output, labels=labels), threads)
    write_json(output / "splits_final.json", splits(folds))
    write_json(output / "dataset.json", description(cases, regions=regions, labels=labels))


def splits(folds: dict[str, list[CheckedCase]]) -> list[dict[str, list[str]]]:
    """The cases that nnU-Net learns from, and those that are held out, fold by fold."""
    names = {fold: sorted(case.name for case in held) for fold, held in folds.items()}
    everybody = {name for held in names.values() for name in held}
    return [{"train": sorted(everybody - {*held}), "val": held} for held in names.values()]


def description(
    cases: list[CheckedCase], *, regions: bool, labels: Labels = KITS19
) -> dict[str, Any]:
    """What nnU-Net reads from ``dataset.json``.

    Its reader that turns images is named, because CTs may have their axes in any order.
    """
    values: dict[str, Any] = {"background": 0}
    if regions:
        values |= {region.name: list(region.labels) for region in labels.regions}
        order = {"regions_class_order": [labels.own_value(region) for region in labels.regions]}
    else:
        values |= {tissue: value for value, tissue in sorted(labels.tissues.items())}
        order = {}
    return {
        "channel_names": {"0": "CT"},
        "labels": values,
        **order,
        "numTraining": len(cases),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        "dataset": {
            case.name: {
                "images": [f"${LINKED}/{case.name}{_ending(case)}"],
                "label": f"{case.name}{ENDING}",
            }
            for case in cases
        },
    }


def _ending(case: CheckedCase) -> str:
    """By what nnU-Net's reader tells a packed image from one that is not."""
    return ENDING if case.image.endswith(".gz") else ".nii"


def _write_label(case: CheckedCase, output: Path, labels: Labels) -> None:
    label = read_label(read_header(case.label_path), labels)
    write_like(output / f"{case.name}{ENDING}", label, read_header(Path(case.image)))
