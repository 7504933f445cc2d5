"""Placement: a header that contradicts itself, or says what no CT has, is refused with numbers."""

import nibabel as nib
import numpy as np
import pytest

from renal.errors import InputError
from renal.image.placement import affine_of

SHAPE, SPACING = (100, 512, 512), (3.0, 0.75, 0.75)
STRAIGHT = np.array([[0, 0, -0.75, 9], [0, -0.75, 0, 8], [-3.0, 0, 0, 7], [0, 0, 0, 1]])


def header_of(affine=STRAIGHT, *, qform=None, spacing=SPACING, unit=2):
    nifti = nib.Nifti1Header()
    nifti.set_data_shape(SHAPE)
    if qform is not None:
        nifti.set_qform(qform, code=1)
    nifti["pixdim"][1:4] = spacing
    if affine is not None:
        nifti.set_sform(affine, code=2)
    nifti["xyzt_units"] = unit
    return nifti


def refused(nifti, about, tmp_path):
    with pytest.raises(InputError) as told:
        affine_of(nifti, SHAPE, tmp_path / "imaging.nii.gz")
    assert about in str(told.value) and "imaging.nii.gz: " in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("unit", [0, 2, 2 + 8, 8])  # 8: seconds, of time
@pytest.mark.parametrize("qform", [None, STRAIGHT])
def test_statements_that_agree(tmp_path, unit, qform):
    affine, remarks = affine_of(header_of(qform=qform, unit=unit), SHAPE, tmp_path)
    np.testing.assert_array_equal(affine, STRAIGHT)
    assert remarks == ()


def test_a_qform_alone_is_legal(tmp_path):
    affine, remarks = affine_of(header_of(None, qform=STRAIGHT), SHAPE, tmp_path)
    np.testing.assert_allclose(affine, STRAIGHT, atol=1e-6)
    assert remarks == ()


@pytest.mark.parametrize(("unit", "name"), [(1, "metres"), (3, "micrometres"), (5, "no unit")])
def test_a_unit_that_is_not_mm(tmp_path, unit, name):
    refused(header_of(unit=unit), name, tmp_path)


@pytest.mark.filterwarnings("error")
def test_a_signalling_nan_is_refused_without_a_warning(tmp_path):
    nifti = header_of()
    nifti["pixdim"][1:2].view(np.uint32)[:] = 0x7F800001
    refused(nifti, "voxel spacing (nan", tmp_path)


def test_no_orientation_at_all(tmp_path):
    refused(header_of(None), "which way the patient lies", tmp_path)


def test_an_identity_beside_a_right_pixdim(tmp_path):
    refused(header_of(np.eye(4)), "pixdim says (3, 0.75, 0.75) mm, but the affine (1,", tmp_path)


@pytest.mark.parametrize("factor", [0.1, 7, 30, 1e15])
def test_a_spacing_that_no_ct_has(tmp_path, factor):
    affine = STRAIGHT @ np.diag([factor, factor, factor, 1])
    about = "of a CT it is 0.2 to 16 mm"
    refused(header_of(affine, spacing=np.multiply(SPACING, factor)), about, tmp_path)


def test_an_axis_longer_than_any_scan(tmp_path):
    affine = STRAIGHT @ np.diag([2, 10, 10, 1])
    nifti = header_of(affine, spacing=(6, 7.5, 7.5))
    refused(nifti, "no CT is longer than 2500 mm", tmp_path)


def sheared(degrees):
    affine = STRAIGHT.copy()
    affine[1, 0] = np.sin(np.radians(degrees)) * 3
    affine[2, 0] = -np.cos(np.radians(degrees)) * 3
    return affine


def test_shear_is_refused_or_told_by_its_angle(tmp_path):
    refused(header_of(sheared(12)), "12.00 degrees from perpendicular", tmp_path)
    refused(header_of(sheared(0.6)), "0.60 degrees from perpendicular", tmp_path)
    remarks = affine_of(header_of(sheared(0.3)), SHAPE, tmp_path)[1]
    assert remarks == ("axes 0.30 degrees from perpendicular",)
    assert affine_of(header_of(sheared(0.01)), SHAPE, tmp_path)[1] == ()


def test_forms_that_disagree_are_refused_or_told_by_their_distance(tmp_path):
    mirrored = STRAIGHT * [[-1], [1], [1], [1]]
    refused(header_of(qform=mirrored), "mm apart", tmp_path)
    moved = STRAIGHT.copy()
    moved[2, 3] += 5
    refused(header_of(qform=moved), "5.00 mm apart", tmp_path)
    moved[2, 3] -= 4
    remarks = affine_of(header_of(qform=moved), SHAPE, tmp_path)[1]
    assert remarks == ("sform and qform place a corner 1.00 mm apart",)
    damaged = header_of(qform=STRAIGHT)
    damaged["quatern_b"] = 3
    refused(damaged, "damaged qform", tmp_path)
