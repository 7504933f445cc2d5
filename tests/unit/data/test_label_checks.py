"""Labels: what lies on no kidney is refused or remarked, and its voxels are counted right."""

import tracemalloc

import numpy as np
import pytest

from renal.data import label_checks
from renal.data.label_checks import check_content
from renal.errors import InputError
from renal.image.volume import read_header, read_label, read_volume
from renal.labels import KITS19


@pytest.fixture(scope="module", params=["case_00000", "case_00001", "case_00002"])
def phantom(request, shared_kits19):
    """The label's header, the label and the image."""
    folder = shared_kits19 / request.param
    header = read_header(folder / "segmentation.nii.gz")
    return header, read_label(header), read_volume(read_header(folder / "imaging.nii.gz"))


def test_a_true_label_has_no_remarks(phantom, monkeypatch):
    header, label, volume = phantom
    content = check_content(header, label, volume, KITS19)
    assert [remark for remark in content.remarks if remark != "no tumour in the label"] == []
    voxel = np.prod(header.spacing) / 1000
    assert content.volumes_ml["kidney"] == pytest.approx((label > 0).sum() * voxel, abs=1e-3)
    assert content.volumes_ml["tumour"] == pytest.approx((label == 2).sum() * voxel, abs=1e-3)
    monkeypatch.setattr(label_checks, "CHUNK", 100)  # in pieces, the same
    assert check_content(header, label, volume, KITS19) == content


def shifted(axis, by_mm):
    def change(label, spacing):
        return np.roll(label, round(by_mm / spacing[axis]), axis)

    return change


WRONG = {
    "left-right": lambda label, _: label[:, :, ::-1],
    "front-back": lambda label, _: label[:, ::-1],
    "head-feet": lambda label, _: label[::-1],
    "transposed": lambda label, _: label.transpose(0, 2, 1),
    **{f"{by:+} mm along {'zyx'[a]}": shifted(a, by) for a in range(3) for by in (-20, 20)},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_label_that_is_turned_or_moved_does_not_pass_in_silence(phantom, change):
    header, label, volume = phantom
    try:
        remarks = check_content(header, change(label, header.spacing), volume, KITS19).remarks
    except InputError as error:
        remarks = [str(error)]
    assert any("of the parenchyma is soft tissue" in remark for remark in remarks)


def one_voxel(label):
    marked = np.zeros_like(label)
    marked[1, 2, 3] = 1
    return marked


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda label, volume: (volume < -950).astype(np.uint8), "ml: mend"),
        (lambda label, volume: np.ones_like(label), "ml: mend"),
        (lambda label, volume: np.roll(label, len(label[0]) // 3, 1), "0 % of the parenchyma"),
        (lambda label, volume: one_voxel(label), "ml: mend"),
        (lambda label, volume: 0 * label, "empty label"),
    ],
)
def test_a_label_that_is_impossible_is_refused(phantom, change, about):
    header, label, volume = phantom
    with pytest.raises(InputError, match=about) as told:
        check_content(header, change(label, volume), np.where(label > 0, volume, -1000), KITS19)
    assert "\n" not in str(told.value)


def test_a_kidney_of_an_odd_size_is_a_remark(phantom):
    header, label, volume = phantom
    few = label.copy(order="C")
    few.ravel()[np.flatnonzero(few)[200:]] = 0
    assert any(
        remark.startswith("kidney of ")
        for remark in check_content(header, few, np.full_like(volume, 40), KITS19).remarks
    )


def test_a_lesion_of_fat_is_no_wrong_label(phantom):
    header, label, volume = phantom
    fatty = np.where(label == 2, -90, volume)
    assert not any("soft" in r for r in check_content(header, label, fatty, KITS19).remarks)


def test_a_label_of_everything_is_counted_without_eight_bytes_a_voxel(shared_kits19):
    header = read_header(shared_kits19 / "case_00000" / "segmentation.nii.gz")
    label = np.ones((320, 320, 320), np.uint8)
    volume = np.full(label.shape, 40, np.int16)
    tracemalloc.start()
    with pytest.raises(InputError, match="ml: mend"):
        check_content(header, label, volume, KITS19)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * label.nbytes + (1 << 23)
