"""Archives that answer, are silent, send half and refuse."""

import sys

import pytest

from renal.apply import dicomweb
from renal.apply.dicomweb import fetched, store
from renal.errors import InputError
from renal.image.dicom_series import find_series, series_name

from ..image.dicom_files import NUMBER, PATIENT, SHAPE, series_files, write_files
from .archive import Archive

STUDY = "1.2.3"


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setattr(dicomweb, "SECONDS", 0.5)
    monkeypatch.setattr(dicomweb, "ATTEMPTS", 1)
    server = Archive()
    for series, modality in (("1.2.3.4", "CT"), ("1.2.3.6", "CT"), ("1.2.3.7", "SR")):
        for data in series_files(series=series, Modality=modality):
            server.instances[data.SOPInstanceUID] = data
    yield server
    server.silent.set()
    server.shutdown()
    server.server_close()


def test_ct_series_come_whole_and_leave_nothing(archive):
    with fetched(archive.url, STUDY, []) as folder:
        found = find_series(folder)
        assert [series.images for series in found.series] == [SHAPE[0], SHAPE[0]]
    assert not folder.exists()


@pytest.mark.parametrize("wanted", ["1.2.3.6", series_name("1.2.3.6")])
def test_a_series_by_name_or_uid(wanted, archive):
    with fetched(archive.url, STUDY, [wanted]) as folder:
        assert [series.uid for series in find_series(folder).series] == ["1.2.3.6"]


def test_a_series_is_taken_as_it_is_stored(archive):
    archive.packed = True
    with fetched(archive.url, STUDY, ["1.2.3.4"]) as folder:
        assert [series.images for series in find_series(folder).series] == [SHAPE[0]]


def test_a_half_sent_series_is_not_used(archive):
    archive.sends = 7
    with (
        pytest.raises(InputError, match="7 of 12 images of a series came: nothing was segmented"),
        fetched(archive.url, STUDY, ["1.2.3.4"]),
    ):
        pytest.fail("half a series")


def test_a_study_that_is_not_there(archive):
    with (
        pytest.raises(InputError, match=r"no such CT series in study 9\.9: check the UID"),
        fetched(archive.url, "9.9", []),
    ):
        pytest.fail("no study")


@pytest.mark.parametrize("mood", ["silent", "busy", "gone", "no UID"])
def test_no_answer(mood, archive):
    url, study = archive.url, STUDY
    if mood == "silent":
        archive.silent.clear()
    elif mood == "busy":
        archive.status = 503
    elif mood == "gone":
        url = "http://127.0.0.1:9/dicom-web"
    else:
        study = "Doe"
    words = {"busy": r"\(status 503\): nothing was", "silent": r"\(ReadTimeout\)"}
    with (
        pytest.raises(InputError, match=words.get(mood, "no answer of DICOMweb")),
        fetched(url, study, []),
    ):
        pytest.fail("no answer")


def test_a_result_is_stored(archive, tmp_path):
    (path,) = write_files(tmp_path, series_files()[:1])
    store(archive.url, path)
    store(archive.url, path)
    assert len(archive.stored) == 1


def test_a_result_that_was_refused_is_kept(archive, tmp_path):
    (path,) = write_files(tmp_path, series_files()[:1])
    archive.refuses = True
    with pytest.raises(InputError, match=r"refused \(failure reason A700\): .* is kept") as told:
        store(archive.url, path)
    archive.refuses, archive.status = False, 409
    with pytest.raises(InputError, match=r"\(status 409\): .* is kept"):
        store(archive.url, path)
    assert path.exists() and not archive.stored
    assert PATIENT not in str(told.value) and NUMBER not in str(told.value)


def test_a_password_is_not_shown(archive, tmp_path):
    url = archive.url.replace("//", "//me:secret@")
    with (
        pytest.raises(InputError, match=r"use ~/\.netrc") as told,
        fetched(url, STUDY, []),
    ):
        pytest.fail("a password")
    assert "secret" not in str(told.value)


def test_faults_of_what_is_done_with_a_series_stay_what_they_are(archive):
    with pytest.raises(ZeroDivisionError), fetched(archive.url, STUDY, []):
        1 / 0  # noqa: B018


def test_without_the_library_one_line_says_which(archive, tmp_path, monkeypatch):
    (path,) = write_files(tmp_path, series_files()[:1])
    monkeypatch.setitem(sys.modules, "dicomweb_client", None)
    with pytest.raises(
        InputError, match=r"^DICOMweb needs .*: `make setup` .* pip install -e '\.\[dicom\]' in"
    ):
        store(archive.url, path)
