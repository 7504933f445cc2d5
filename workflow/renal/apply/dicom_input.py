"""DICOM series as inputs; their results are DICOM-SEG objects."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.image.volume import write_like

if TYPE_CHECKING:
    from renal.apply.inputs import Scan
    from renal.image.dicom_segmentation import Algorithm
    from renal.image.dicom_series import Series
    from renal.image.dicom_volume import DicomVolume


@dataclass(frozen=True)
class DicomOptions:
    """How series are read and their results written.

    Attributes
    ----------
    series : list of str
        Names or UIDs of those to use; see `choose_series`.
    resample_uneven, untilt : bool
        What is put right; see `read_series`.
    labelmap : bool
        The kind of object that is written; see `write_segmentation`.
    """

    series: list[str] = field(default_factory=list)
    resample_uneven: bool = False
    untilt: bool = False
    labelmap: bool = False


@dataclass(frozen=True)
class DicomInput:
    """A series; see `inputs.Input`."""

    series: "Series"
    algorithm: "Algorithm"
    options: DicomOptions

    @property
    def name(self) -> str:
        return self.series.name

    def read(self) -> "DicomVolume":
        from renal.image.dicom_volume import read_series

        options = self.options
        return read_series(
            self.series, resample_uneven=options.resample_uneven, untilt=options.untilt
        )

    def write(self, scan: "Scan", label: np.ndarray, folder: Path) -> Path:
        """Write a DICOM-SEG object; where nothing was found, which it cannot say, NIfTI."""
        from renal.image.dicom_segmentation import write_segmentation
        from renal.image.dicom_volume import DicomVolume

        assert isinstance(scan, DicomVolume)
        path = folder / f"{self.name}.dcm"
        if write_segmentation(path, label, scan, self.algorithm, labelmap=self.options.labelmap):
            return path
        empty = folder / f"{self.name}.nii.gz"
        write_like(empty, label, scan.header)
        return empty


def find_dicom(folder: Path, algorithm: "Algorithm", options: DicomOptions) -> list[DicomInput]:
    """The series at a path that are to be segmented; what is left out is logged.

    Raises
    ------
    InputError
        If there is none, or a choice that was not made; see `choose_series`.
    """
    import logging

    from renal.image.dicom_series import choose_series, find_series

    found = find_series(folder)
    for remark in found.remarks:
        logging.getLogger("renal").info("%s: %s", folder, remark)
    chosen = choose_series(found, options.series, folder)
    return [DicomInput(series, algorithm, options) for series in chosen]
