"""Where a NIfTI header says that its voxels lie, and whether its statements agree.

A header states the voxels' size twice or thrice (pixdim, sform, qform) and the unit besides. What
contradicts itself is refused rather than one statement believed.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations

from renal.errors import InputError

# Codes of the unit of length in xyzt_units; files that name none mean mm.
UNITS = {0: "mm", 1: "metres", 2: "mm", 3: "micrometres"}
# In mm. CTs of the abdomen have 0.4 to 5; the smallest phantom, 32 pixels wide, has 14.
SPACING_LIMITS = (0.2, 16.0)
LONGEST_MM = 2500  # of an axis: no table goes further
# Spacings of one header that differ by more than this share contradict each other.
SPACING_SHARE = 0.01
# Of an axis from the perpendicular, in degrees: 0.5 moves an end of 300 mm by 2.6 mm.
SHEAR_LIMIT, SHEAR_REMARK = 0.5, 0.05
# By how much sform and qform may place a corner apart: in mm, and in voxels.
FORMS_REMARK_MM, FORMS_LIMIT = 0.1, 1.0


def affine_of(
    nifti: nib.Nifti1Header, shape: tuple[int, ...], path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Affine from the sform, or the qform where there is no sform, once all statements agree.

    Parameters
    ----------
    nifti : nibabel.Nifti1Header
        As stored; a handedness of 0 is set to 1.
    shape : tuple of int
        Voxels along the file's three axes.
    path : Path
        The file, for messages.

    Returns
    -------
    affine : numpy.ndarray
        (4, 4) float64, voxel index to RAS mm.
    remarks : tuple of str
        What is unusual but usable.

    Raises
    ------
    InputError
        If a statement is impossible, or if two contradict each other.
    """
    with np.errstate(invalid="ignore"):  # NumPy warns of a signalling NaN, which is refused below
        pixdim = np.asarray(nifti["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite(pixdim).all() or (pixdim <= 0).any():
        raise InputError(f"{path}: voxel spacing {_mm(pixdim)}: mend the header's pixdim")
    unit = int(nifti["xyzt_units"]) & 7
    if UNITS.get(unit) != "mm":
        raise InputError(
            f"{path}: xyzt_units {unit} ({UNITS.get(unit, 'no unit of length')}), spacing "
            f"{pixdim.tolist()}: store mm"
        )
    affine = _stored_affine(nifti, path)
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if (np.abs(sizes - pixdim) > SPACING_SHARE * pixdim).any():
        raise InputError(
            f"{path}: pixdim says {_mm(pixdim)}, but the affine {_mm(sizes)}: mend the header"
        )
    least, greatest = SPACING_LIMITS
    if (sizes < least).any() or (sizes > greatest).any():
        raise InputError(
            f"{path}: voxel spacing {_mm(sizes)}, of a CT it is {least:g} to {greatest:g} mm: "
            "mend the header"
        )
    if (sizes * shape > LONGEST_MM).any():
        raise InputError(
            f"{path}: {_mm(sizes * shape)} long, no CT is longer than {LONGEST_MM} mm: "
            "mend the header"
        )
    return affine, (*_shear(affine, path), *_forms_apart(nifti, affine, sizes, shape, path))


def _stored_affine(nifti: nib.Nifti1Header, path: Path) -> np.ndarray:
    codes = [int(nifti[f"{form}_code"]) for form in ("sform", "qform")]
    if not set(codes) <= set(nib.nifti1.xform_codes.value_set()):
        raise InputError(f"{path}: sform and qform codes {codes}: mend the header")
    if codes == [0, 0]:
        raise InputError(
            f"{path}: sform and qform codes are 0, so nothing says which way the patient lies: "
            "convert it again with its orientation"
        )
    # NIfTI takes a handedness of 0, which some programs leave there, for 1; nibabel does not.
    nifti["pixdim"][0] = -1 if nifti["pixdim"][0] < 0 else 1
    try:
        affine = np.asarray(nifti.get_best_affine(), dtype=np.float64)
    except Exception as error:
        raise InputError(f"{path}: damaged orientation ({error}): mend the header") from error
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: the affine has no volume: mend the header's sform or qform")
    if np.isnan(orientations.io_orientation(affine)).any():
        raise InputError(f"{path}: the affine does not tell the axes apart: mend the header")
    return affine


def _shear(affine: np.ndarray, path: Path) -> list[str]:
    """A remark on axes that are not perpendicular; lengths and volumes would be wrong."""
    directions = affine[:3, :3] / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    cosine = np.abs(directions.T @ directions - np.eye(3)).max()
    degrees = float(np.degrees(np.arcsin(min(cosine, 1.0))))
    words = f"axes {degrees:.2f} degrees from perpendicular"
    if degrees > SHEAR_LIMIT:
        raise InputError(f"{path}: {words} (a tilted gantry?): resample it to a straight grid")
    return [words] if degrees > SHEAR_REMARK else []


def _forms_apart(
    nifti: nib.Nifti1Header,
    affine: np.ndarray,
    sizes: np.ndarray,
    shape: tuple[int, ...],
    path: Path,
) -> list[str]:
    """A remark on an sform and a qform, both in force, that place the corners apart."""
    if not (nifti["sform_code"] and nifti["qform_code"]):
        return []
    try:
        qform = np.asarray(nifti.get_qform(), dtype=np.float64)
    except Exception as error:
        raise InputError(f"{path}: damaged qform ({error}): mend the header") from error
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape) - 1)
    away = nib.affines.apply_affine(affine - qform, corners)
    distance = float(np.sqrt((away**2).sum(axis=1)).max())
    words = f"sform and qform place a corner {distance:.2f} mm apart"
    if not distance <= FORMS_LIMIT * sizes.max():
        raise InputError(f"{path}: {words}: mend the header")
    return [words] if distance > FORMS_REMARK_MM else []


def _mm(sizes: np.ndarray) -> str:
    return f"({', '.join(f'{size:.4g}' for size in sizes)}) mm"
