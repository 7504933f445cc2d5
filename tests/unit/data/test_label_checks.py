"""Labels: what lies on no kidney is refused or remarked, and its voxels are counted right."""

import re
import tracemalloc
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from renal.data import label_checks
from renal.data.label_checks import check_content
from renal.errors import InputError
from renal.image.boxes import bounding_box
from renal.image.volume import read_header, read_label, read_volume
from renal.labels import KITS19, Labels


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


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("chunk", [50, 1 << 22])
def test_voxels_are_counted_one_by_one(order, chunk, monkeypatch):
    monkeypatch.setattr(label_checks, "CHUNK", chunk)
    draw = np.random.default_rng(0)
    label = np.asarray(draw.integers(0, 3, (5, 6, 7)), np.uint8, order=order)
    volume = np.asarray(draw.integers(-600, 700, label.shape), np.int16, order=order)
    pairs = list(zip(label.ravel().tolist(), volume.ravel().tolist(), strict=True))
    for found, belongs in zip(
        label_checks._count(label, volume, 3),
        (lambda hu: True, lambda hu: -50 <= hu <= 500, lambda hu: hu < -300),
        strict=True,
    ):
        for value in (1, 2):
            assert found[value] == sum(own == value and belongs(hu) for own, hu in pairs)


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


@pytest.mark.parametrize("kept", [0, 1])
def test_a_label_of_lesions_alone_is_held_against_the_image_too(phantom, kept):
    """With a voxel of parenchyma or without any."""
    header, label, volume = phantom
    lesions = (label > 0) * np.uint8(2)
    lesions[tuple(np.argwhere(label == 1)[0])] -= kept
    remarks = check_content(header, lesions, volume, KITS19).remarks
    assert any(remark.startswith("no parenchyma") for remark in remarks) != kept
    air = np.where(lesions == 2, -1000, volume)
    with pytest.raises(InputError, match=r"% of the kidney is (air|soft tissue)"):
        check_content(header, lesions, air, KITS19)
    with pytest.raises(InputError, match="use the label that belongs to the image"):
        check_content(header, np.roll(lesions, len(label[0]) // 3, 1), volume, KITS19)


def moved_to(label, volume, axis, low):
    """The kidneys, and what they lie on, moved to an edge."""
    box = bounding_box(label)
    by = [0, 0, 0]
    by[axis] = -box[axis][0] if low else label.shape[axis] - box[axis][1]
    return np.roll(label, by, (0, 1, 2)), np.roll(volume, by, (0, 1, 2))


@pytest.mark.parametrize(
    ("axis", "low", "edge"),
    [
        (0, True, "upper"),
        (0, False, "lower"),
        (1, True, "front"),
        (1, False, "back"),
        (2, True, "right"),
        (2, False, "left"),
    ],
)
def test_a_kidney_that_the_scan_cuts_off_is_told(phantom, axis, low, edge):
    header, label, volume = phantom
    remarks = check_content(header, *moved_to(label, volume, axis, low), KITS19).remarks
    assert f"the kidney touches the {edge} edge of the scan: what lies beyond is missing" in remarks


def kidney_and(tumour, gap_mm, spacing, size=(40, 60, 60)):
    """A kidney, a tumour on it, and another one some mm below the first tumour; (z, y, x) uint8."""
    label = np.zeros(size, np.uint8)
    label[5:15, 10:40, 10:40] = 1
    label[15:18, 10:40, 10:40] = 2
    first = 18 + round(gap_mm / spacing[0]) - 1
    label[first : first + 4, 20:30, 20:30] = tumour
    return label


@pytest.mark.parametrize("spacing", [(2.5, 1.5, 1.5), (1.0, 0.7, 0.7), (5.0, 0.8, 0.8)])
@pytest.mark.parametrize(("gap_mm", "told"), [(5, False), (20, True), (45, True)])
def test_a_tumour_off_all_kidneys_is_told_with_its_place_and_distance(
    shared_kits19, spacing, gap_mm, told
):
    header = read_header(shared_kits19 / "case_00000/segmentation.nii.gz")
    header = replace(header, affine=np.diag([*spacing[::-1], 1.0]))
    size = (20 + 8 + round(gap_mm / spacing[0]), 60, 60)
    label = kidney_and(2, gap_mm, header.spacing, size)
    found = check_content(header, label, np.full(label.shape, 40, np.int16), KITS19).remarks
    apart = [remark for remark in found if "from any kidney" in remark]
    assert len(apart) == told
    if told:
        assert apart[0].startswith("tumour of ")
        millimetres = float(re.search(r"lies (\d+) mm", apart[0])[1])
        assert millimetres == pytest.approx(gap_mm, abs=2.5 + header.spacing[0])
        z, y, x = map(int, re.search(r"voxel \((\d+), (\d+), (\d+)\)", apart[0]).groups())
        assert label[z, y, x] == 2 and z > 18


def test_a_single_voxel_off_all_kidneys_is_told_wherever_it_lies(shared_kits19):
    header = read_header(shared_kits19 / "case_00000/segmentation.nii.gz")
    header = replace(header, affine=np.diag([0.8, 0.8, 1.0, 1.0]))
    for place in product((60, 61), (7, 8), (7, 8)):
        label = kidney_and(2, 5, header.spacing, (70, 61, 61))
        label[place] = 2
        found = check_content(header, label, np.full(label.shape, 40, np.int16), KITS19).remarks
        (apart,) = (remark for remark in found if "from any kidney" in remark)
        assert apart.startswith(f"tumour of 0.00064 ml about voxel {place} (z, y, x) lies ")


def test_a_cyst_off_all_kidneys_is_told_by_its_name(shared_kits19):
    header = read_header(shared_kits19 / "case_00000/segmentation.nii.gz")
    header = replace(header, affine=np.diag([1.5, 1.5, 2.5, 1.0]))
    kidney, tumour = KITS19.regions
    masses = replace(tumour, name="masses", labels=(2, 3))
    regions = (replace(kidney, labels=(1, 2, 3)), masses, tumour)
    with_cysts = Labels({**KITS19.tissues, 3: "cyst"}, regions)
    label = kidney_and(3, 30, header.spacing)
    found = check_content(header, label, np.full(label.shape, 40, np.int16), with_cysts).remarks
    assert any(remark.startswith("cyst of ") for remark in found)


def test_a_second_kidney_is_not_off_the_first(shared_kits19):
    header = read_header(shared_kits19 / "case_00000/segmentation.nii.gz")
    label = kidney_and(1, 40, header.spacing)
    found = check_content(header, label, np.full(label.shape, 40, np.int16), KITS19).remarks
    assert not any("from any kidney" in remark for remark in found)


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
