"""One set of labels against another, of the same or another scheme."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from renal.data.label_checks import check_place
from renal.errors import InputError
from renal.evaluate.label_versions import compare_labels, in_scheme, shared_scheme
from renal.evaluate.metrics import case_metrics
from renal.image.volume import write_nifti
from renal.labels import KITS19
from renal.recipe.schemes import KITS23

AFFINE = np.diag([-2.0, -1.0, 1.0, 1.0])
REAL = Path(__file__).resolve().parents[4] / "shared"


def label(path, *values, affine=AFFINE):
    """A label map whose first slices hold these values."""
    array = np.zeros((6, 8, 8), np.uint8)
    for number, value in enumerate(values):
        array[number, 2:6, 2:6] = value
    write_nifti(path, array, affine)
    return path


def compared(first, second, schemes=(KITS19, KITS23)):
    return compare_labels({"case_1": (first, second)}, schemes, check_place=check_place)


def test_a_scheme_with_cysts_against_one_without(tmp_path):
    old, new = label(tmp_path / "a.nii.gz", 1, 1, 2, 2), label(tmp_path / "b.nii.gz", 1, 3, 2, 3)
    (row,) = compared(old, new)
    assert row["case"] == "case_1"
    assert row["kidney_dice"] == 1  # cysts are kidney
    assert row["tumour_dice"] == pytest.approx(2 * 16 / (32 + 16))
    assert row["tumour_volume_error"] == 1
    assert not [metric for metric in row if metric.startswith("masses")]
    (back,) = compared(new, old, (KITS23, KITS19))
    assert back["tumour_dice"] == row["tumour_dice"]
    assert back["tumour_volume_error"] == -0.5


def test_equal_schemes_are_scored_as_methods_are(tmp_path):
    first, second = label(tmp_path / "a.nii.gz", 1, 2), label(tmp_path / "b.nii.gz", 2, 2)
    (row,) = compared(first, second, (KITS19, KITS19))
    arrays = np.zeros((2, 6, 8, 8), np.uint8)
    arrays[:, :2, 2:6, 2:6] = 2
    arrays[0, 0, 2:6, 2:6] = 1
    assert row == {"case": "case_1", **case_metrics(*arrays, (2.0, 1.0, 1.0))}


def test_the_scheme_that_both_have():
    assert shared_scheme(KITS19, KITS23) == shared_scheme(KITS23, KITS19) == KITS19
    assert shared_scheme(KITS23, KITS23) == KITS23
    kidney, tumour = KITS19.regions
    other = replace(KITS19, regions=(kidney, replace(tumour, name="lesion")))
    with pytest.raises(InputError, match="one has kidney, tumour, the other kidney, lesion"):
        shared_scheme(KITS19, other)


def test_values_of_another_scheme_are_those_of_the_regions():
    values = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
    assert in_scheme(values, KITS23, KITS19).ravel().tolist() == [0, 1, 2, 1]
    assert in_scheme(values, KITS23, KITS23) is values


def test_files_that_cannot_be_compared_are_named(tmp_path):
    first = label(tmp_path / "a.nii.gz", 1, 2)
    elsewhere = label(tmp_path / "b.nii.gz", 1, 2, affine=AFFINE + np.eye(4, k=3) * 5)
    with pytest.raises(InputError, match=r"a\.nii\.gz: its affine differs"):
        compared(first, elsewhere)
    cysts = label(tmp_path / "c.nii.gz", 1, 3)
    with pytest.raises(InputError, match=r"c\.nii\.gz: label values \[3\]"):
        compared(cysts, first)


@pytest.mark.skipif(not (REAL / "kits23").is_dir(), reason="KiTS's labels are not here")
def test_kits19_against_kits23_on_a_real_case():
    """Label values read by hand, without a scheme."""
    import nibabel as nib

    paths = [REAL / f"kits{year}/data/case_00021/segmentation.nii.gz" for year in (19, 23)]
    old, new = (np.asarray(nib.load(path).dataobj) for path in paths)
    (row,) = compared(*paths)
    for region, of_old, of_new in (
        ("kidney", old > 0, new > 0),
        ("tumour", old == 2, new == 2),
    ):
        dice = 2 * np.count_nonzero(of_old & of_new) / (of_old.sum() + of_new.sum())
        assert row[f"{region}_dice"] == pytest.approx(dice, abs=1e-6)
