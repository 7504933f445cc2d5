"""Another program's files as ours: their places, orders of axes, types and label values."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from renal import recipe
from renal.data.label_checks import check_place
from renal.errors import InputError
from renal.evaluate.external import import_segmentations
from renal.evaluate.settings import External
from renal.handover.segmentations import segmentation_of
from renal.image.volume import read_header, read_label

KIDNEY_AND_TUMOUR = {1: "kidney", 2: "tumour"}


def settings(folder: Path, *files: tuple[str, dict[int, str]], **changes) -> External:
    named = [{"path": path, "labels": labels} for path, labels in files]
    values = {"folder": str(folder), "files": named, "trained_on_these": "unknown"}
    return External.model_validate(values | changes)


@pytest.fixture
def truths(checked) -> dict[str, nib.Nifti1Image]:
    """The labels of the labelled cases, as files hold them."""
    return {case.name: nib.load(case.label) for case in checked if case.labelled}


@pytest.fixture
def taken(checked, tmp_path):
    """Imports the labelled cases, and gives the label maps that were written, by case."""

    def import_all(external: External) -> dict[str, np.ndarray]:
        cases = [case for case in checked if case.labelled]
        output = tmp_path / "merged"
        import_segmentations(cases, external, output, check_place=check_place)
        for case in cases:
            image = nib.load(case.image)
            written = nib.load(segmentation_of(output, case.name))
            assert written.shape == image.shape
            assert np.array_equal(written.affine, image.affine)
        return {
            case.name: read_label(read_header(segmentation_of(output, case.name))) for case in cases
        }

    return import_all


def truth_of(case) -> np.ndarray:
    return read_label(read_header(Path(case.label)))


def stored(image: nib.Nifti1Image, values: np.ndarray) -> nib.Nifti1Image:
    return nib.Nifti1Image(values, image.affine)


def test_files_of_any_order_and_type_that_hold_integers_are_taken(checked, truths, taken, tmp_path):
    """A MONAI bundle's: decimals, turned, in a folder for each case."""
    for case, image in truths.items():
        (tmp_path / case).mkdir()
        decimals = stored(image, np.asanyarray(image.dataobj).astype(np.float32))
        nib.save(nib.as_closest_canonical(decimals), tmp_path / f"{case}/{case}_trans.nii.gz")
    found = taken(settings(tmp_path, ("{case}/{case}_*.nii.gz", KIDNEY_AND_TUMOUR)))
    for case in checked:
        if case.labelled:
            assert np.array_equal(found[case.name], truth_of(case))


# What a program writes of parenchyma and tumours (1, 2), by the path of its file. TotalSegmentator
# takes the tumour for a cyst here, and finds a liver (5).
WRITTEN = {
    "nnunet_segmentations": {"{case}.nii.gz": {1: 1, 2: 2}},
    "auto3dseg": {"{case}/{case}_ensemble.nii.gz": {1: 1, 2: 2}},
    "monai_bundle": {"{case}/{case}_trans.nii.gz": {1: 1, 2: 2}},
    "totalsegmentator": {"{case}.nii.gz": {1: 3, 2: 24, 0: 5}},
    "totalsegmentator_classes": {
        "{case}/kidney_left.nii.gz": {1: 1},
        "{case}/kidney_right.nii.gz": {},
        "{case}/kidney_cyst_left.nii.gz": {},
        "{case}/kidney_cyst_right.nii.gz": {2: 1},
        "{case}/liver.nii.gz": {0: 1},
    },
}


@pytest.mark.parametrize("preset", WRITTEN)
def test_presets_read_what_programs_write(preset, checked, truths, taken, tmp_path):
    external = recipe.load_method(preset, {"external": {"folder": str(tmp_path)}}).external
    for case, image in truths.items():
        truth = np.asanyarray(image.dataobj)
        for path, values in WRITTEN[preset].items():
            written = np.zeros(truth.shape, np.uint8)
            for value, of_program in values.items():
                written[truth == value] = of_program
            file = tmp_path / path.format(case=case)
            file.parent.mkdir(exist_ok=True)
            nib.save(stored(image, written), file)
    found = taken(external)
    for case in checked:
        if case.labelled:
            truth = truth_of(case)
            kidney_alone = preset.startswith("totalsegmentator")
            assert np.array_equal(found[case.name], truth > 0 if kidney_alone else truth)


def test_one_file_a_class(checked, truths, taken, tmp_path):
    for case, image in truths.items():
        (tmp_path / case).mkdir()
        values = np.asanyarray(image.dataobj)
        for name, part in (("kidney", values == 1), ("lesion", values == 2)):
            nib.save(stored(image, part.astype(np.uint8)), tmp_path / f"{case}/{name}.nii.gz")
    files = [("{case}/kidney.nii.gz", {1: "kidney"}), ("{case}/lesion.nii.gz", {1: "tumour"})]
    found = taken(settings(tmp_path, *files))
    for case in checked:
        if case.labelled:
            assert np.array_equal(found[case.name], truth_of(case))
    (tmp_path / "case_00001/lesion.nii.gz").unlink()
    with pytest.raises(InputError) as error:
        taken(settings(tmp_path, *files))
    assert f"case_00001: there is no file {tmp_path}/{{case}}/lesion.nii.gz" in str(error.value)
    assert "optional: true" in str(error.value)


def test_a_class_without_a_file_is_empty_where_its_file_is_optional(
    checked, truths, taken, tmp_path, caplog
):
    """The kidneys of a case count; a case without any file is still a missing one."""
    for case, image in truths.items():
        (tmp_path / case).mkdir()
        values = np.asanyarray(image.dataobj)
        for name, part in (("kidney", values > 0), ("lesion", values == 2)):
            nib.save(stored(image, part.astype(np.uint8)), tmp_path / f"{case}/{name}.nii.gz")
    (tmp_path / "case_00001/lesion.nii.gz").unlink()
    external = settings(
        tmp_path,
        ("{case}/kidney.nii.gz", {1: "kidney"}),
        ("{case}/lesion.nii.gz", {1: "tumour"}),
    )
    kidney, lesion = external.files
    lesion = lesion.model_copy(update={"optional": True})
    external = external.model_copy(update={"files": (kidney, lesion)})
    found = taken(external)
    for case in checked:
        if case.labelled:
            truth = truth_of(case)
            lost = case.name == "case_00001"
            assert np.array_equal(found[case.name], truth > 0 if lost else truth)
    told = "1 of 3 cases (case_00001) have no {case}/lesion.nii.gz: it is empty"
    assert told in caplog.text
    (tmp_path / "case_00001/kidney.nii.gz").unlink()
    with pytest.raises(InputError, match=r"1 of 3 cases \(case_00001\) have no file"):
        taken(external)
    (tmp_path / "case_00002/kidney.nii.gz").unlink()
    with pytest.raises(InputError, match=r"case_00002: there is no file .*kidney"):
        taken(external.model_copy(update={"missing": "empty"}))


def test_a_program_of_many_classes_gives_the_kidney_alone(checked, truths, taken, tmp_path):
    for case, image in truths.items():
        values = np.asanyarray(image.dataobj)
        many = np.choose(values, [51, 2, 24]).astype(np.uint8)
        nib.save(stored(image, many), tmp_path / f"{case}.nii.gz")
    files = ("{case}.nii.gz", {2: "kidney", 3: "kidney", 23: "kidney", 24: "kidney"})
    external = settings(tmp_path, files, others="background")
    assert external.regions == ("kidney",)
    found = taken(external)
    for case in checked:
        if case.labelled:
            assert np.array_equal(found[case.name], (truth_of(case) > 0).astype(np.uint8))
    with pytest.raises(InputError, match=r"label values \[51\]: the recipe names 2, 3, 23, 24"):
        taken(settings(tmp_path, files))


def save_all(truths, folder: Path) -> None:
    for case, image in truths.items():
        nib.save(image, folder / f"{case}.nii.gz")


PLAIN = ("{case}.nii.gz", KIDNEY_AND_TUMOUR)


def test_missing_cases_are_refused_together_or_empty(truths, taken, tmp_path, caplog):
    save_all(truths, tmp_path)
    (tmp_path / "case_00000.nii.gz").unlink()
    (tmp_path / "case_00002.nii.gz").unlink()
    with pytest.raises(InputError) as error:
        taken(settings(tmp_path, PLAIN))
    assert "2 of 3 cases (case_00000, case_00002) have no file: put {case}" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "merged").exists()
    found = taken(settings(tmp_path, PLAIN, missing="empty"))
    assert [bool(label.any()) for label in found.values()] == [False, True, False]
    assert "2 of 3 cases (case_00000, case_00002) have no file" in caplog.text


def test_all_files_that_cannot_be_used_are_told(truths, taken, tmp_path):
    save_all(truths, tmp_path)
    halves = truths["case_00000"]
    nib.save(stored(halves, halves.get_fdata() / 2), tmp_path / "case_00000.nii.gz")
    moved = truths["case_00001"]
    affine = moved.affine.copy()
    affine[:3, 3] += 5
    nib.save(nib.Nifti1Image(np.asanyarray(moved.dataobj), affine), tmp_path / "case_00001.nii.gz")
    smaller = truths["case_00002"].slicer[2:]
    nib.save(smaller, tmp_path / "case_00002.nii.gz")
    with pytest.raises(InputError) as error:
        taken(settings(tmp_path, PLAIN))
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "case_00000.nii.gz: label values [0.5]: only 0 background, 1 kidney" in lines[0]
    assert "case_00001.nii.gz: its affine differs" in lines[1]
    assert "case_00002.nii.gz: shape" in lines[2]


def test_two_files_for_a_case_are_refused(truths, taken, tmp_path):
    save_all(truths, tmp_path)
    nib.save(truths["case_00000"], tmp_path / "case_00000_again.nii.gz")
    with pytest.raises(InputError, match=r"case_00000: one file .* is expected, 2 are there"):
        taken(settings(tmp_path, ("{case}*.nii.gz", KIDNEY_AND_TUMOUR)))


def test_a_case_stands_in_the_path(tmp_path):
    with pytest.raises(ValueError, match=r"path must hold \{case\}"):
        settings(tmp_path, ("all.nii.gz", KIDNEY_AND_TUMOUR))


def test_a_whole_path_needs_no_folder_and_signs_in_names_are_signs(truths, taken, tmp_path):
    folder = tmp_path / "run[1]*"
    folder.mkdir()
    save_all(truths, folder)
    assert len(taken(settings(folder, PLAIN))) == 3
    plain = tmp_path / "plain"
    plain.mkdir()
    save_all(truths, plain)
    assert len(taken(settings(Path("elsewhere"), (f"{plain}/{{case}}.nii.gz", PLAIN[1])))) == 3
