"""The phantom: repeatable, plausible in HU, true to its arguments, and in KiTS19's layout."""

import json

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from renal.data.phantom import phantom_case, write_phantom
from renal.recipe.schemes import KITS23

THICK = (5.0, 5.0)


def parts(mask: np.ndarray) -> int:
    return ndimage.label(mask, np.ones((3, 3, 3)))[1]


@pytest.fixture(scope="module")
def phantom():
    return phantom_case(1, size=96, tumours=1, kidneys=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "kits19"
    assert write_phantom(path, labelled=2, unlabelled=1, size=64) == [
        "case_00000",
        "case_00001",
        "case_00002",
    ]
    return path


def test_the_seed_decides_all():
    first, again, other = (phantom_case(seed, size=64, slices_mm=THICK) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.label, again.label)
    assert first.spacing == again.spacing
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_types_shapes_and_values(phantom):
    assert phantom.image.dtype == np.int16
    assert phantom.label.dtype == np.uint8
    assert phantom.image.shape == phantom.label.shape
    assert phantom.image.shape[1:] == (96, 96)
    assert set(np.unique(phantom.label)) == {0, 1, 2}
    assert phantom.image.min() >= -1024 and phantom.image.max() <= 3000
    thickness, height, width = phantom.spacing
    assert 2.5 <= thickness <= 5 and height == width
    assert 160 <= len(phantom.image) * thickness <= 240


@pytest.mark.parametrize("seed", range(3))
def test_tissues_have_plausible_attenuation(seed):
    phantom = phantom_case(seed, size=96, slices_mm=THICK, tumours=1)
    image, label = phantom.image, phantom.label
    kidney, tumour = image[label == 1], image[label == 2]
    assert 80 < kidney.mean() < 220
    assert 10 < tumour.mean() < 140
    assert tumour.mean() < kidney.mean() - 20
    corner = image[:, :5, :5]
    assert corner.min() >= -1024 and corner.max() < -900
    border = np.concatenate([image[:, 0].ravel(), image[:, :, 0].ravel(), image[:, :, -1].ravel()])
    assert border.max() < -850  # the body does not touch the edge of the field of view
    assert np.mean((image > -130) & (image < -70)) > 0.05  # fat
    assert image.max() > 300  # bone or aorta


@pytest.mark.parametrize(("tumours", "kidneys"), [(0, 2), (2, 2), (1, 1), (2, 1)])
def test_counts_are_respected(tumours, kidneys):
    for seed in range(2):
        label = phantom_case(seed, size=96, slices_mm=THICK, tumours=tumours, kidneys=kidneys).label
        assert parts(label == 2) == tumours
        assert parts(label > 0) == kidneys


def test_kidneys_lie_on_both_sides_and_the_liver_on_the_right(phantom):
    columns = np.nonzero(phantom.label.any((0, 1)))[0]
    assert columns[0] < 40 and columns[-1] > 56
    upper = ndimage.gaussian_filter(phantom.image[: len(phantom.image) // 3].astype(float), 2)
    soft = (upper > 60) & (upper < 150)
    assert soft[:, :, :48].sum() > soft[:, :, 48:].sum()  # patient right comes first


@pytest.mark.parametrize("size", [48, 128])
def test_size_changes_the_grid_and_not_the_patient(size):
    phantom, other = (phantom_case(2, size=n, slices_mm=THICK) for n in (size, 96))
    assert phantom.image.shape == (len(other.image), size, size)
    volume, expected = ((p.label > 0).sum() * np.prod(p.spacing) for p in (phantom, other))
    assert volume == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("arguments", [{"kidneys": 0}, {"tumours": 3}, {"size": 8}])
def test_impossible_requests_are_refused(arguments):
    with pytest.raises(ValueError, match="cannot make"):
        phantom_case(0, **arguments)


def test_files_follow_the_layout_of_kits19(folder):
    image = nibabel.load(folder / "case_00001" / "imaging.nii.gz")
    label = nibabel.load(folder / "case_00001" / "segmentation.nii.gz")
    assert image.get_data_dtype() == np.int16 and label.get_data_dtype() == np.uint8
    assert image.shape == label.shape and image.shape[1:] == (64, 64)
    sz, sy, sx = map(float, image.header.get_zooms())
    expected = [[0, 0, -sx, 0], [0, -sy, 0, 0], [-sz, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(image.affine, expected)
    np.testing.assert_array_equal(label.affine, expected)
    assert nibabel.aff2axcodes(image.affine) == ("I", "P", "L")

    entries = json.loads((folder / "kits.json").read_text())
    assert [entry["case_id"] for entry in entries] == ["case_00000", "case_00001", "case_00002"]
    assert entries[1]["voxel_spacing"] == {"x_spacing": sx, "y_spacing": sy, "z_spacing": sz}


def test_the_last_cases_have_no_segmentation(folder):
    assert (folder / "case_00002" / "imaging.nii.gz").exists()
    assert not (folder / "case_00002" / "segmentation.nii.gz").exists()


def test_a_case_does_not_depend_on_how_many_are_written(folder, tmp_path):
    write_phantom(tmp_path, labelled=1, unlabelled=0, size=64)
    for name in ("imaging.nii.gz", "segmentation.nii.gz"):
        first, second = (nibabel.load(path / "case_00000" / name) for path in (folder, tmp_path))
        np.testing.assert_array_equal(first.dataobj, second.dataobj)


def test_a_second_write_leaves_the_files(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    write_phantom(folder, labelled=2, unlabelled=1, size=64, processes=2)
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_cysts_are_a_class_of_their_own_where_the_scheme_has_one():
    """Water-like, at a kidney, and parenchyma where the scheme has no such label."""
    for seed in range(20):
        told = phantom_case(seed, size=96, slices_mm=THICK, labels=KITS23)
        cyst = told.label == 3
        if cyst.sum() > 50:
            break
    plain = phantom_case(seed, size=96, slices_mm=THICK)
    np.testing.assert_array_equal(told.image, plain.image)
    assert set(np.unique(plain.label[cyst])) == {1}
    np.testing.assert_array_equal(told.label[~cyst], plain.label[~cyst])
    assert -20 < np.median(told.image[cyst]) < 40 < np.median(told.image[told.label == 1])
    assert (ndimage.binary_dilation(cyst) & (told.label == 1)).any()
