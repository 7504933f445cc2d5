"""Headers: damage is named, missing libraries are named, patients are not."""

import errno
import os
import sys
from pathlib import Path

import pytest
from pydicom.config import WARN, settings

from renal.errors import InputError
from renal.image.dicom_checks import check_series
from renal.image.dicom_headers import is_dicom
from renal.image.dicom_series import find_series

from .dicom_files import series_files, write_files


def test_a_damaged_header_is_named(tmp_path):
    (path,) = write_files(tmp_path, series_files()[:1])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="IM0000"):
        check_series(find_series(tmp_path).series[0])


def test_without_the_libraries_one_line_says_which(tmp_path, monkeypatch):
    write_files(tmp_path, series_files())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"`make setup` .* pip install -e '\.\[dicom\]'"):
        find_series(tmp_path)


def test_names_of_patients_stay_out_of_warnings(tmp_path, monkeypatch, recwarn, caplog):
    """pydicom quotes the value of what it finds wrong."""
    write_files(tmp_path, series_files(PatientBirthDate="19500101", PatientSex="F" * 20))
    monkeypatch.setattr(settings, "reading_validation_mode", WARN)
    recwarn.clear()
    caplog.clear()
    find_series(tmp_path)
    assert not recwarn.list and not caplog.records


def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_dicom(tmp_path / "pipe")


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (path,) = write_files(tmp_path, series_files()[:1])

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError) as error:
        is_dicom(path)
    assert str(error.value) == f"{path}: cannot be read (Permission denied): mend it"


def test_colour_pictures_are_no_slices(tmp_path):
    *slices, last = series_files()
    last.SamplesPerPixel = 3
    write_files(tmp_path, [*slices, last])
    found = find_series(tmp_path)
    assert [series.images for series in found.series] == [len(slices)]
    assert {kind: len(paths) for kind, paths in found.left_out.items()} == {"colour pictures": 1}
