"""From a real archive and back into it."""

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient

from renal.apply.dicomweb import fetched, store
from renal.errors import InputError
from renal.image.dicom_segmentation import Algorithm, write_segmentation
from renal.image.dicom_series import find_series
from renal.image.dicom_volume import read_series

from ..unit.image.dicom_files import SHAPE, body, kidneys, series_files, write_files
from ..unit.image.test_dicom_volume import pack

STUDY = "1.2.3"


@pytest.fixture
def filled(orthanc, tmp_path):
    """The archive with a study of two series."""
    for series in ("1.2.3.4", "1.2.3.6"):
        files = series_files(series=series)
        for number, data in enumerate(files):
            data.SOPInstanceUID = f"{series}.{number}"
        for path in write_files(tmp_path / series, files):
            store(orthanc, path)
    return orthanc


def test_a_series_there_and_its_segmentation_back(filled, tmp_path):
    with fetched(filled, STUDY, ["1.2.3.4"]) as folder:
        (series,) = find_series(folder).series
        source = read_series(series)
        np.testing.assert_array_equal(source.volume[::-1], body())
        path = tmp_path / "seg.dcm"
        write_segmentation(path, kidneys()[::-1], source, Algorithm("resvnet", "1", "ab" * 32))
    store(filled, path)
    store(filled, path)
    client = DICOMwebClient(filled)
    found = client.search_for_series(STUDY, search_filters={"Modality": "SEG"})
    assert len(found) == 1
    uid = found[0]["0020000E"]["Value"][0]
    (instance,) = client.retrieve_series(STUDY, uid)
    assert [segment.SegmentLabel for segment in instance.SegmentSequence] == [
        "Right kidney",
        "Left kidney",
        "Tumour",
    ]
    # A segmentation beside the CT is no series to segment.
    with fetched(filled, STUDY, []) as folder:
        assert [series.images for series in find_series(folder).series] == [SHAPE[0]] * 2


def test_a_series_in_jpeg_2000(orthanc, tmp_path):
    """Which Debian's Orthanc stores, and cannot unpack."""
    for path in write_files(tmp_path, series_files(StudyInstanceUID="1.2.8", series="1.2.8.1")):
        pack(path, "JPEG2000Lossless")
        store(orthanc, path)
    with fetched(orthanc, "1.2.8", []) as folder:
        (series,) = find_series(folder).series
        np.testing.assert_array_equal(read_series(series).volume[::-1], body())


def test_what_is_no_dicom_is_refused_and_kept(filled, tmp_path):
    (path,) = write_files(tmp_path, series_files(SOPInstanceUID="1.2.3.4.5")[:1])
    data = path.read_bytes()
    with pytest.raises(InputError, match=f"{path} is kept"):
        store(filled.replace("dicom-web", "nowhere"), path)
    assert path.read_bytes() == data


def test_a_study_that_the_archive_does_not_have(filled):
    with (
        pytest.raises(InputError, match="no such CT series"),
        fetched(filled, "1.2.3.99", []),
    ):
        pytest.fail("no study")
