"""DICOM series as inputs; their results are DICOM-SEG objects."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.image.dicom_segmentation import Algorithm, write_segmentation
from renal.image.dicom_series import Series, choose_series, find_series
from renal.image.dicom_volume import DicomVolume, read_series
from renal.image.volume import write_like
from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from renal.apply.inputs import Scan

log = logging.getLogger("renal")


@dataclass(frozen=True)
class DicomOptions:
    """How series are read and their results written.

    Attributes
    ----------
    algorithm : Algorithm
        What segments them, for their results.
    series : tuple of str
        Names or UIDs of those to use; see `choose_series`.
    resample_uneven, untilt : bool
        What is put right; see `read_series`.
    labelmap : bool
        The kind of object that is written; see `write_segmentation`.
    labels : Labels
        What the values of label maps are.
    """

    algorithm: Algorithm
    series: tuple[str, ...] = ()
    resample_uneven: bool = False
    untilt: bool = False
    labelmap: bool = False
    labels: Labels = KITS19


@dataclass(frozen=True)
class DicomInput:
    """A series; see `inputs.Input`."""

    series: Series
    options: DicomOptions

    @property
    def name(self) -> str:
        return self.series.name

    def read(self) -> DicomVolume:
        options = self.options
        return read_series(
            self.series, resample_uneven=options.resample_uneven, untilt=options.untilt
        )

    def write(self, scan: "Scan", label: np.ndarray, folder: Path) -> Path:
        """Write a DICOM-SEG object; where nothing was found, which it cannot say, NIfTI."""
        assert isinstance(scan, DicomVolume)
        options = self.options
        path, empty = folder / f"{self.name}.dcm", folder / f"{self.name}.nii.gz"
        if write_segmentation(
            path,
            label,
            scan,
            options.algorithm,
            labels=options.labels,
            labelmap=options.labelmap,
        ):
            written, earlier = path, empty
        else:
            write_like(empty, label, scan.header)
            written, earlier = empty, path
        earlier.unlink(missing_ok=True)  # it would contradict what was written
        return written


def find_dicom(folder: Path, files: list[Path], options: DicomOptions) -> list[DicomInput]:
    """The series at a path that are to be segmented; what is no scan is logged.

    Parameters
    ----------
    folder : Path
        Or one file.
    files : list of Path
        Those in it that are looked at.
    options : DicomOptions
        Which series, and how.

    Raises
    ------
    InputError
        If there is none, or a choice that was not made; see `choose_series`.
    """
    found = find_series(folder, files)
    for remark in found.remarks:
        log.info("%s: %s", folder, remark)
    chosen = choose_series(found, options.series, folder)
    return [DicomInput(series, options) for series in chosen]
