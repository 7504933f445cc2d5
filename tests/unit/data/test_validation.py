"""Validation: what is wrong with a case is recorded in one line, for all cases at once."""

import errno
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from renal.data import validation
from renal.data.cases import Case, find_cases
from renal.data.validation import check_case, validate
from renal.errors import InputError
from renal.handover.checked import read_checked, usable
from renal.image import volume
from renal.image.volume import read_header, read_label, write_like

LIMIT = 10**7
NAME = "case_00000"


def check(root, name=NAME, **changed):
    arguments = {"maximum_voxels": LIMIT, **changed}
    cases = {case.name: case for case in find_cases(root)}
    return check_case(cases[name], **arguments)


def named(root, *names):
    cases = {case.name: case for case in find_cases(root)}
    return [cases[name] for name in names]


def rewrite(path, change=None, change_affine=None):
    """Store a volume anew after `change` of its array and `change_affine` of its affine."""
    image = nib.load(path)
    array, affine = np.asarray(image.dataobj).copy(), image.affine.copy()
    array = array if change is None else change(array)
    affine = affine if change_affine is None else change_affine(affine)
    nib.save(nib.Nifti1Image(array, affine), path)


def moved(by):
    def change(affine):
        affine[:3, 3] += by
        return affine

    return change


def fault_of(case, about):
    assert about in case.fault and "\n" not in case.fault
    return case.fault


@pytest.fixture
def image(kits19):
    return kits19 / NAME / "imaging.nii.gz"


@pytest.fixture
def label(kits19):
    return kits19 / NAME / "segmentation.nii.gz"


def test_a_good_case_is_described(shared_kits19):
    case = check(shared_kits19)
    assert case.fault == "" and case.notes == [] and case.labelled
    stored = nib.load(shared_kits19 / NAME / "segmentation.nii.gz")
    assert case.shape == list(stored.shape)
    assert case.spacing == pytest.approx(stored.header.get_zooms())
    voxel = np.prod(stored.header.get_zooms()) / 1000
    array = np.asarray(stored.dataobj)
    assert list(case.volumes_ml) == ["kidney", "tumour"]
    assert case.volumes_ml["kidney"] == pytest.approx((array > 0).sum() * voxel, abs=1e-3)
    assert case.volumes_ml["tumour"] == pytest.approx((array == 2).sum() * voxel, abs=1e-3)
    assert len(case.checksum.split("-")) == 2


def test_an_unlabelled_case_has_no_volumes(shared_kits19):
    case = check(shared_kits19, "case_00003")
    assert case.fault == "" and not case.labelled
    assert case.volumes_ml == {}
    assert "-" not in case.checksum


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda a: np.full_like(a, 40), "every voxel is 40"),
        (lambda a: ((a + 1024) / 4).clip(0, 255).astype(np.uint8), "not Hounsfield units"),
        (lambda a: ((a + 1024) / 4000).astype(np.float32), "every voxel is 0"),
        (lambda a: (a + 1024).astype(np.uint16), "not Hounsfield units"),
        (lambda a: np.where(a > -300, -1000, a), "not Hounsfield units"),
        (
            lambda a: np.where(np.indices(a.shape)[0] > 3, -1000, a),
            "no body in the middle slice: mend the spacing, if (",
        ),
        # A table alone: two rows of pixels.
        (lambda a: np.where(np.indices(a.shape)[1] // 2 == 20, 100, -1000 + 0 * a), "no body"),
        (lambda a: np.where(a == a.max(), np.nan, a), "NaN or infinite voxels"),
        (lambda a: a[0], "three axes"),
    ],
)
def test_an_image_that_is_no_ct_of_an_abdomen(kits19, image, change, about):
    rewrite(image, change)
    assert str(image) in fault_of(check(kits19), about)


@pytest.mark.parametrize(
    ("change", "change_affine", "about"),
    [
        (lambda a: a[:-1], None, "but the image has"),
        (lambda a: a.transpose(0, 2, 1)[:, :, :-1], None, "but the image has"),
        (lambda a: a[:, :, ::-1] * 0 + 1, None, "ml: mend the label"),
        (lambda a: np.roll(a, 20, 1), None, "of the parenchyma is soft tissue"),
        (None, moved(1.5), "affine differs from the image's by 1.5"),
        (None, lambda a: a @ np.diag([-1, 1, 1, 1]), "affine differs"),
        (lambda a: a * 0, None, "empty label"),
        (lambda a: a * 2, None, "label values [4]"),
        (lambda a: a[..., None].repeat(2, 3), None, "three axes"),
    ],
)
def test_a_label_that_does_not_fit(kits19, label, change, change_affine, about):
    rewrite(label, change, change_affine)
    case = check(kits19)
    assert str(label) in fault_of(case, about)
    assert case.labelled


def in_order(array, affine, codes):
    """The same voxels with a file's axes in another order."""
    now = nib.orientations.io_orientation(affine)
    turn = nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(codes))
    return nib.Nifti1Image(array, affine).as_reoriented(turn)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "IPR", "PSR"])
def test_a_label_in_another_axis_order_is_read_where_it_lies(kits19, label, codes):
    before = check(kits19)
    stored = nib.load(label)
    turned = in_order(np.asarray(stored.dataobj), stored.affine, codes)
    nib.save(turned, label)
    after = check(kits19)
    assert after.fault == "" and after.notes == []
    assert after.volumes_ml == before.volumes_ml
    # The same stored voxels under the image's own header are a turned label.
    if turned.shape == stored.shape:
        nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), stored.affine), label)
        wrong = check(kits19)
        assert "soft tissue" in wrong.fault or "soft tissue" in wrong.notes[0]


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda a: a.transpose(0, 2, 1), "affine differs"),
        (lambda a: a[:, :, ::-1], "affine differs"),
    ],
)
def test_no_fault_gives_the_advice_to_copy_the_header(kits19, label, change, about):
    rewrite(label, change, moved(40))
    fault = fault_of(check(kits19), about)
    assert "copy" not in fault and "the label that belongs to the image" in fault


def test_remarks_on_both_headers_and_the_values_are_notes(kits19, image, label):
    def tilted(affine):
        affine[1, 0] = 0.004 * affine[2, 0]  # 0.23 degrees
        return affine

    rewrite(image, lambda a: np.where(a == -1024, -3024, a), tilted)
    rewrite(label, None, tilted)
    case = check(kits19)
    assert case.fault == ""
    sheared = "axes 0.23 degrees from perpendicular"
    assert case.notes[0] == sheared and case.notes[-1] == f"label: {sheared}"
    assert "voxels of padding" in case.notes[1] and "-3024" in case.notes[1]


def test_a_case_that_is_mirrored_with_its_label_is_noted(kits19, image, label):
    for path in (image, label):
        rewrite(path, lambda a: a[:, ::-1])
    case = check(kits19)
    assert case.fault == "" and len(case.notes) == 1
    assert case.notes[0].startswith("by the header the spine is in front: ")


def test_a_label_that_is_a_pipe_is_told_at_once(kits19, label):
    label.unlink()
    os.mkfifo(label)
    assert str(label) in fault_of(check(kits19), "no regular file")


def test_an_affine_within_rounding_is_accepted(kits19, label):
    rewrite(label, change_affine=moved(5e-4))
    assert check(kits19).fault == ""


def test_a_label_without_tumour_is_legal_and_noted(kits19, label):
    rewrite(label, lambda a: np.minimum(a, 1))
    case = check(kits19)
    assert case.fault == "" and case.volumes_ml["tumour"] == 0 < case.volumes_ml["kidney"]
    assert case.notes == ["no tumour in the label"]


def test_a_folder_without_an_image(kits19, image):
    image.unlink()
    assert str(image) in fault_of(check(kits19), "missing")


def test_a_truncated_image(kits19, image):
    image.write_bytes(image.read_bytes()[:-1000])
    assert str(image) in fault_of(check(kits19), "damaged")


def test_the_limit_of_voxels(kits19):
    checked = check(kits19, maximum_voxels=1000)
    fault_of(checked, "data.maximum_voxels (1000)")
    assert checked.transient


@pytest.mark.parametrize("fault", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "disk")])
def test_what_the_system_refuses_may_pass_and_damage_does_not(kits19, label, monkeypatch, fault):
    opened = volume._open

    def refusing(path):
        if path == label:
            raise fault
        return opened(path)

    monkeypatch.setattr(volume, "_open", refusing)
    checked = check(kits19)
    assert str(label) in fault_of(checked, str(fault)) and checked.transient
    monkeypatch.undo()
    label.write_bytes(label.read_bytes()[:-1000])
    damaged = check(kits19)
    assert damaged.fault and not damaged.transient
    label.write_bytes(b"")
    assert not check(kits19).transient


def test_a_label_that_is_a_broken_link_is_told(kits19):
    label = kits19 / NAME / "segmentation.nii.gz"
    label.unlink()
    label.symlink_to(kits19 / "not mounted")
    fault_of(check(kits19), "segmentation.nii.gz: missing")


@pytest.mark.parametrize("name", ["imaging.nii.gz", "segmentation.nii.gz"])
def test_a_changed_file_changes_the_checksum(kits19, name):
    def one_voxel_more(array):
        place = np.argwhere(array == 1)[0]
        array[tuple(place)] = 2
        return array

    before = check(kits19).checksum
    assert check(kits19).checksum == before
    rewrite(kits19 / NAME / name, one_voxel_more)
    after = check(kits19)
    assert after.fault == "" and after.checksum != before


def test_a_file_that_becomes_a_folder_while_it_is_checked_is_a_fault(kits19, image, monkeypatch):
    def replaced(volume):
        image.unlink()
        image.mkdir()
        return ""

    monkeypatch.setattr(validation, "_sample", replaced)
    assert str(image) in fault_of(check(kits19), "no regular file")


def test_a_ct_is_known_however_its_file_is_written(kits19):
    """In another axis order, type and packing."""
    before = check(kits19)
    path = kits19 / NAME / "imaging.nii.gz"
    other = nib.as_closest_canonical(nib.load(path))
    nib.save(nib.Nifti1Image(other.get_fdata(dtype=np.float32), other.affine), path)
    after = check(kits19)
    assert after.checksum != before.checksum and after.sample == before.sample != ""
    assert check(kits19, "case_00001").sample != before.sample


def test_all_cases_are_recorded_the_bad_ones_too(kits19, image, tmp_path):
    rewrite(image, np.zeros_like)
    rewrite(kits19 / "case_00002" / "segmentation.nii.gz", np.zeros_like)
    names = [f"case_0000{number}" for number in range(4)]
    records = [tmp_path / "one.json", tmp_path / "two.json"]
    validate(kits19, named(kits19, *names[:1]), records[0], maximum_voxels=LIMIT)
    validate(kits19, named(kits19, *names[1:]), records[1], maximum_voxels=LIMIT, threads=2)
    found = {**read_checked(records[1]), **read_checked(records[0])}
    assert sorted(found) == names
    fault_of(found["case_00000"], "every voxel is 0")
    fault_of(found["case_00002"], "empty label")
    without_files = {"image": "", "label": ""}
    assert found["case_00001"] == replace(check(kits19, "case_00001"), **without_files)
    with pytest.raises(InputError, match="2 of 4 cases cannot be used"):
        usable(records)


def test_bad_case_without_label_is_left_out(kits19, image, tmp_path):
    rewrite(image, np.zeros_like)
    (image.parent / "segmentation.nii.gz").unlink()
    cases = named(kits19, "case_00003", "case_00000", "case_00001")
    validate(kits19, cases, tmp_path / "a", maximum_voxels=LIMIT)
    assert [case.name for case in usable([tmp_path / "a"])] == ["case_00001", "case_00003"]


def test_a_case_that_went_away_since_the_plan_is_told(kits19, tmp_path):
    cases = named(kits19, "case_00000", "case_00001", "case_00003")
    for file in (cases[0].label, cases[1].image, cases[2].image):
        file.unlink()
    validate(kits19, cases, tmp_path / "out.json", maximum_voxels=10**7)
    found = read_checked(tmp_path / "out.json").values()
    gone = ("case_00000/segmentation", "case_00001/imaging", "case_00003/imaging")
    for case, path in zip(found, gone, strict=True):
        assert case.fault.startswith(path)


def test_a_data_folder_that_is_not_there_is_told(kits19, tmp_path):
    cases = find_cases(kits19)
    kits19.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"no such folder: set data\.root"):
        validate(kits19, cases, tmp_path / "out.json", maximum_voxels=LIMIT)
    assert not (tmp_path / "out.json").exists()


def test_records_are_the_same_wherever_the_data_lie_and_whatever_files_are_called(
    kits19, image, tmp_path
):
    (kits19 / "case_00001" / "imaging.nii.gz").write_bytes(b"not an image")
    names = ["case_00000", "case_00001", "case_00003"]
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    validate(kits19, named(kits19, *names), first, maximum_voxels=LIMIT)
    moved = kits19.rename(tmp_path / "moved")
    validate(moved, named(moved, *names), second, maximum_voxels=LIMIT)
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path) not in first.read_text()
    case = moved / "case_00000"
    _, *others = named(moved, *names)
    renamed = [case / "7.nii.gz", case / "7_seg.nii.gz"]
    for kind, path in zip(("imaging", "segmentation"), renamed, strict=True):
        (case / f"{kind}.nii.gz").rename(path)
    cases = [Case("case_00000", *renamed), *others]
    validate(moved, cases, second, maximum_voxels=LIMIT)
    assert first.read_bytes() == second.read_bytes()
    assert read_checked(first)["case_00001"].fault.startswith("case_00001/imaging.nii.gz: ")


def test_a_corrected_segmentation_is_a_label(kits19, image, label, tmp_path):
    """As a step writes it in the image's geometry, and a viewer stores it with a voxel changed."""
    header = read_header(image)
    truth = read_label(read_header(label))
    segmentation = tmp_path / "segmentation" / f"{NAME}.nii.gz"
    write_like(segmentation, truth, header)
    kidney = tuple(np.argwhere(np.asarray(nib.load(segmentation).dataobj) == 1)[0])

    def corrected(array):
        array = array.astype(np.int16)
        array[kidney] = 0
        return array

    rewrite(segmentation, corrected)
    segmentation.replace(label)
    case = check(kits19)
    assert case.fault == "" and case.labelled
    changed = read_label(read_header(label)) != truth
    assert changed.sum() == 1 and truth[changed] == [1]
