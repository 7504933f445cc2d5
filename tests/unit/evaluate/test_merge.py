"""Tests of merging: the rule by hand, components, geometry, and cases in which nothing is found."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from renal.errors import InputError
from renal.evaluate.merge import merge, merge_case
from renal.evaluate.settings import Merging
from renal.evaluate.stage_map import StageMap
from renal.handover.checked import CheckedCase
from renal.handover.predictions import mean_probabilities, write_probabilities
from renal.handover.prepared import PreparedCase, write_index
from renal.image.boxes import Box
from renal.image.settings import Components
from renal.image.volume import read_header, read_label, write_nifti
from renal.labels import KITS19
from renal.learn.targets import maps_of

SHAPE = (12, 16, 20)
SPACING = (3.0, 0.8, 0.7)
WHOLE = tuple((0, length) for length in SHAPE)


def kits_affine(spacing: tuple[float, float, float] = SPACING) -> np.ndarray:
    """Axes (z, y, x) towards Inferior, Posterior and Left, as in KiTS19's files."""
    z, y, x = spacing
    return np.array([[0, 0, -x, 10], [0, -y, 0, 20], [-z, 0, 0, 30], [0, 0, 0, 1.0]])


def method(minimum_voxels: int = 100) -> Merging:
    return merging(
        {
            "kidneys": {"maps": ["kidney"], "components": {"minimum_voxels": minimum_voxels}},
            "lesions": {"maps": ["tumour"], "components": {}},
        },
        kidney="kidneys",
        tumour="lesions",
    )


def merging(stages: dict[str, dict], **maps: str) -> Merging:
    return Merging.model_validate(
        {
            "family": "tiny",
            "stages": stages,
            "merge": {"name": "nested", "maps": maps},
            "grid": next(iter(stages)),
        }
    )


def block(z: slice, y: slice, x: slice) -> np.ndarray:
    """Probabilities of one map, (1, z, y, x)."""
    probability = np.zeros((1, *SHAPE), np.float32)
    probability[0, z, y, x] = 1
    return probability


def case_of(*boxes: Box) -> PreparedCase:
    return PreparedCase("case_00000", SHAPE, list(boxes))


def cleaned_mask(probability: np.ndarray, components: Components) -> np.ndarray:
    """Native mask of one map of a whole volume."""
    return StageMap(case_of(WHOLE), [probability], components).native_mask()


KIDNEY = block(np.s_[2:8], np.s_[3:9], np.s_[4:10])  # 6 * 6 * 6 = 216 voxels
TUMOUR = block(np.s_[4:10], np.s_[5:7], np.s_[6:8])  # sticks out of the kidney below


EXPECTED = np.zeros(SHAPE, np.uint8)
EXPECTED[2:8, 3:9, 4:10] = 1
EXPECTED[4:8, 5:7, 6:8] = 2


def test_tumour_within_kidney_by_hand():
    kidney = np.array([[[0, 1, 1, 0]]], bool)
    tumour = np.array([[[0, 0, 1, 1]]], bool)
    label = KITS19.paint({"kidney": kidney, "tumour": tumour})
    assert label.dtype == np.uint8
    assert label.tolist() == [[[0, 1, 2, 0]]]


def test_a_case_from_its_stages():
    stages = {
        "kidneys": (case_of(WHOLE), [KIDNEY]),
        "lesions": (case_of(WHOLE, WHOLE), [TUMOUR, np.zeros_like(TUMOUR)]),
    }
    label = merge_case(stages, method())
    expected = np.zeros(SHAPE, np.uint8)
    expected[2:8, 3:9, 4:10] = 1
    expected[4:8, 5:7, 6:8] = 2
    assert np.array_equal(label, expected)


@pytest.mark.parametrize(("voxels", "kept"), [(99, False), (100, True)])
def test_components_of_fewer_voxels_than_the_recipe_says_are_dropped(voxels, kept):
    probability = KIDNEY.copy()
    small = np.zeros((5, 5, 4), np.float32)
    small.ravel()[:voxels] = 1
    probability[0, 5:10, 11:16, 14:18] = small
    mask = cleaned_mask(probability[0], method().stages["kidneys"].components)
    assert mask[2:8, 3:9, 4:10].all()
    assert mask.sum() == 216 + (voxels if kept else 0)


def test_components_count_on_the_native_grid():
    # A voxel of a grid of half the size is at most eight native ones.
    coarse = np.zeros((6, 8, 10), np.float32)
    coarse[2:4, 2:4, 2:5] = 1  # 12 voxels: 96 native ones at most
    components = method().stages["kidneys"].components
    assert not cleaned_mask(coarse, components).any()
    coarse[2:5, 2:5, 2:5] = 1  # 27 voxels
    assert cleaned_mask(coarse, components).any()


def test_only_as_many_components_as_the_recipe_says():
    probability = KIDNEY + block(np.s_[5:10], np.s_[11:16], np.s_[14:18])
    mask = cleaned_mask(probability[0], Components(keep=1))
    assert np.array_equal(mask, KIDNEY[0] > 0)


# -- roles, channels and members ------------------------------------------------------------------


@pytest.mark.parametrize("target", ["classes", ("kidney", "tumour"), ("tumour", "kidney")], ids=str)
def test_roles_take_their_map_from_a_stage_of_several(target):
    maps = {"kidney": KIDNEY[0], "tumour": TUMOUR[0]}
    order = ("kidney", "tumour") if target == "classes" else target
    stages = {"both": (case_of(WHOLE), [np.stack([maps[name] for name in order])])}
    settings = merging(
        {"both": {"maps": maps_of(target), "components": {}}},
        kidney="both.kidney",
        tumour="both.tumour",
    )
    assert np.array_equal(merge_case(stages, settings), EXPECTED)


def test_maps_of_regions_that_overlap_or_are_cut_by_the_volumes_edge():
    # Two regions that share x 8..12; the second ends where the volume does.
    boxes = [((0, 12), (0, 16), (0, 12)), ((0, 12), (0, 16), (8, 20))]
    kidney, tumour = np.zeros((2, *SHAPE), np.float32)
    kidney[2:8, 3:9, 4:20], tumour[4:6, 5:7, 10:20] = 1, 1
    both = np.stack([kidney, tumour])
    parts = [both[..., low:high].copy() for _, _, (low, high) in boxes]
    parts[0][..., 8:] *= 0.2  # the first region is less sure of what the second one sees
    settings = merging(
        {"both": {"maps": ["kidney", "tumour"], "components": {}}},
        kidney="both.kidney",
        tumour="both.tumour",
    )
    label = merge_case({"both": (case_of(*boxes), parts)}, settings)
    expected = np.zeros(SHAPE, np.uint8)
    expected[2:8, 3:9, 4:20] = 1
    expected[4:6, 5:7, 10:20] = 2
    assert np.array_equal(label, expected)


def test_members_are_averaged_voxel_by_voxel(tmp_path):
    random = np.random.default_rng(0)
    maps = [random.random((2, *SHAPE), np.float32) for _ in range(3)]
    maps[2][:, 3:] = 0  # what is stored is cropped to what is not zero, in each for itself
    folders = [
        write_predictions(tmp_path / str(number), {"case_00000": ([WHOLE], [part])})
        for number, part in enumerate(maps)
    ]
    case, (mean,) = mean_probabilities(folders, "case_00000")
    assert case == case_of(WHOLE)
    np.testing.assert_allclose(mean, sum(maps) / 3, atol=1 / 510 + 1e-6)
    (single,) = mean_probabilities(folders[:1], "case_00000")[1]
    np.testing.assert_allclose(single, maps[0], atol=1 / 510 + 1e-6)


def test_members_that_lie_elsewhere_are_told(tmp_path):
    other = ((0, 12), (0, 16), (0, 19))
    one = write_predictions(tmp_path / "one", {"case_00000": ([WHOLE], [KIDNEY])})
    two = write_predictions(tmp_path / "two", {"case_00000": ([other], [KIDNEY[..., :19]])})
    with pytest.raises(InputError, match="case_00000 covers another part of the scan") as told:
        mean_probabilities([one, two], "case_00000")
    message = str(told.value)
    assert message.startswith(f"{one}: ") and str(two) in message and "\n" not in message


def test_a_case_that_a_member_lacks_is_told(tmp_path):
    one = write_predictions(tmp_path / "one", {"case_00000": ([WHOLE], [KIDNEY])})
    two = write_predictions(tmp_path / "two", {})
    with pytest.raises(InputError, match=f"{two}: case_00000 is missing"):
        mean_probabilities([one, two], "case_00000")


def test_an_ensemble_is_cut_after_averaging(tmp_path):
    case = write_case(tmp_path, "case_00000", kits_affine())
    sure, doubtful = KIDNEY * np.float32(0.9), KIDNEY * np.float32(0.2)
    folders = [
        write_predictions(
            tmp_path / name, {"case_00000": ([WHOLE], [np.concatenate([part, TUMOUR])])}
        )
        for name, part in (("one", sure), ("two", doubtful))
    ]
    stage = {"maps": ["kidney", "tumour"], "components": {}, "members": 2}
    settings = merging({"segment": stage}, kidney="segment.kidney", tumour="segment.tumour")
    merge([case], {"segment": folders}, settings, tmp_path / "out")
    # 0.55 in the mean is foreground, though one of the members says no.
    assert np.array_equal(read_label(read_header(tmp_path / "out/case_00000.nii.gz")), EXPECTED)


# -- hysteresis -----------------------------------------------------------------------------------


HYSTERESIS = Merging.model_validate(
    {
        "family": "tiny",
        "stages": {
            "segment": {"maps": ["kidney", "tumour"], "components": {}},
            "localize": {"maps": ["kidney"], "components": {}},
        },
        "merge": {
            "name": "hysteresis",
            "maps": {
                "kidney": "segment.kidney",
                "tumour": "segment.tumour",
                "within": "localize",
            },
            "threshold": 0.5,
            "kidney_growth": {"default": 0.4, "empty": 0.1},
            "tumour_growth": {"default": 0.3, "small": 0.2, "empty": 0.1},
            "small_voxels": 2,
        },
        "grid": "segment",
    }
)


def test_hysteresis_grows_on_the_grid_and_comes_back_to_native_voxels():
    # A grid of half the size; the localization network's is a quarter of that along z.
    grid, box = (6, 8, 10), tuple((0, length) for length in SHAPE)
    kidney, tumour = np.zeros((2, *grid), np.float32)
    kidney[1:5, 2:6, 2:8] = 0.9
    kidney[1:5, 2:6, 8] = 0.45  # a rim between the lower and the upper threshold: it is grown into
    kidney[1:5, 0, 0:2] = 0.45  # as sure, but it touches nothing
    tumour[2:4, 3:5, 3:5] = 0.9
    within = np.zeros((3, 8, 10), np.float32)
    within[:, :, :9] = 1
    stages = {
        "segment": (case_of(box), [np.stack([kidney, tumour])]),
        "localize": (case_of(box), [within[None]]),
    }
    label = merge_case(stages, HYSTERESIS)
    assert label.shape == SHAPE and label.dtype == np.uint8
    # Corners are rounded off on the way back, so what lies a voxel within is compared.
    assert (label[3:9, 5:11, 5:17] > 0).all()
    assert (label[5:7, 7:9, 7:9] == 2).all() and (label[5:7, 7:9, 11:17] == 1).all()
    outside = np.ones(SHAPE, bool)
    outside[2:10, 4:12, 4:18] = False
    assert not label[outside].any()
    # Another part of the scan cannot be multiplied voxel by voxel.
    stages["localize"] = (case_of(((0, 12), (0, 16), (0, 18))), [within[None]])
    with pytest.raises(InputError, match="case_00000: merge hysteresis needs stages whose grids"):
        merge_case(stages, HYSTERESIS)


@pytest.mark.parametrize(("highest", "told"), [(0.09, True), (0.11, False)])
def test_a_kidney_that_algorithm_1_makes_all_tumour_is_told(caplog, highest, told):
    """Line 14: every patient of the paper has a tumour, which is not so of a user's own CTs."""
    kidney, within = np.zeros((2, *SHAPE), np.float32)
    kidney[2:6, 3:9, 4:9], within[:] = 0.9, 1
    tumour = np.zeros_like(kidney)
    tumour[3, 4, 5] = highest
    stages = {
        "segment": (case_of(WHOLE), [np.stack([kidney, tumour])]),
        "localize": (case_of(WHOLE), [within[None]]),
    }
    label = merge_case(stages, HYSTERESIS)
    assert (label == 2).sum() == ((kidney > 0).sum() if told else 1)
    messages = [record.getMessage() for record in caplog.records]
    assert [
        message.startswith("case_00000: no voxel's probability of tumour exceeds 0.1, so all")
        for message in messages
    ] == [True] * told


def test_each_mask_of_hysteresis_is_cleaned_as_its_own_stage_says():
    values = HYSTERESIS.model_dump()
    roles = ("kidney", "tumour", "within")
    values["merge"]["maps"] = dict(zip(roles, roles, strict=True))
    values["stages"] = {
        role: {"maps": [role], "components": {"keep": 1} if role == "tumour" else {}}
        for role in roles
    }
    kidney, tumour, within = np.zeros((3, *SHAPE), np.float32)
    kidney[2:6, 3:9, 4:9] = kidney[8:10, 3:6, 12:15] = 0.9
    tumour[3:5, 4:8, 5:8] = tumour[8, 4, 13] = 0.9
    within[:] = 1
    maps = zip(roles, (kidney, tumour, within), strict=True)
    stages = {role: (case_of(WHOLE), [values[None]]) for role, values in maps}
    label = merge_case(stages, Merging.model_validate(values))
    expected = (kidney > 0).astype(np.uint8)
    expected[3:5, 4:8, 5:8] = 2
    assert np.array_equal(label, expected)


# -- files ----------------------------------------------------------------------------------------


def write_case(
    root: Path, name: str, affine: np.ndarray, stored_shape: tuple[int, ...] = SHAPE
) -> CheckedCase:
    path = root / name / "imaging.nii.gz"
    write_nifti(path, np.zeros(stored_shape, np.int16), affine)
    return CheckedCase(name, str(path), shape=list(SHAPE), spacing=list(SPACING))


def write_predictions(folder: Path, found: dict[str, tuple[list[Box], list[np.ndarray]]]) -> Path:
    cases = []
    for name, (boxes, probabilities) in found.items():
        case = PreparedCase(name, SHAPE, boxes)
        write_probabilities(folder, case, probabilities)
        cases.append(case)
    write_index(folder, cases)
    return folder


# The same volume as stored by other scanners: affine, and shape of the stored array.
ORIENTATIONS = {
    "kits": (kits_affine(), SHAPE),
    "identity": (np.diag([0.7, 0.8, 3.0, 1.0]), SHAPE[::-1]),
    "oblique": (
        np.array([[1, 0, 0, 0], [0, 0.995, -0.0998, 0], [0, 0.0998, 0.995, 0], [0, 0, 0, 1]])
        @ kits_affine(),
        SHAPE,
    ),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_segmentations_have_exactly_the_geometry_of_their_images(tmp_path, orientation):
    affine, stored_shape = ORIENTATIONS[orientation]
    case = write_case(tmp_path / "data", "case_00000", affine, stored_shape)
    predictions = {
        "kidneys": [write_predictions(tmp_path / "k", {"case_00000": ([WHOLE], [KIDNEY])})],
        "lesions": [write_predictions(tmp_path / "l", {"case_00000": ([WHOLE], [TUMOUR])})],
    }
    merge([case], predictions, method(), tmp_path / "out")
    path = tmp_path / "out" / "case_00000.nii.gz"
    image, label = nib.load(case.image), nib.load(path)
    assert label.shape == image.shape
    assert np.array_equal(label.affine, image.affine)
    assert label.header.get_zooms() == image.header.get_zooms()
    for code in ("sform_code", "qform_code"):
        assert label.header[code] == image.header[code]
    assert label.get_data_dtype() == np.uint8
    assert np.array_equal(read_label(read_header(path)), EXPECTED)
    if orientation == "identity":
        # Right, Anterior, Superior: every axis is turned, and x comes first.
        assert np.array_equal(np.asarray(label.dataobj), EXPECTED.T[::-1, ::-1, ::-1])


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_found_gives_an_empty_segmentation_and_a_warning(tmp_path, caplog, threads):
    cases = [write_case(tmp_path, f"case_0000{number}", kits_affine()) for number in range(3)]
    empty = np.zeros_like(KIDNEY)
    predictions = {
        "kidneys": [
            write_predictions(
                tmp_path / "k",
                {
                    "case_00000": ([WHOLE], [KIDNEY]),
                    "case_00001": ([WHOLE], [empty]),
                    "case_00002": ([WHOLE], [block(np.s_[0:2], np.s_[0:2], np.s_[0:2])]),
                },
            )
        ],
        # A stage that looks at regions has none where the first stage found no kidney.
        "lesions": [
            write_predictions(
                tmp_path / "l",
                {name: ([], []) for name in ("case_00000", "case_00001", "case_00002")},
            )
        ],
    }
    with caplog.at_level(logging.WARNING, "renal"):
        merge(cases, predictions, method(), tmp_path / "out", threads=threads)
    labels = [read_label(read_header(tmp_path / "out" / f"{c.name}.nii.gz")) for c in cases]
    assert np.array_equal(labels[0], (KIDNEY[0] > 0).astype(np.uint8))
    assert labels[1].shape == labels[2].shape == SHAPE
    assert not labels[1].any()
    assert not labels[2].any()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        f"{name}: nothing was found: its segmentation is empty"
        for name in ("case_00001", "case_00002")
    ]


def test_segmentations_repeat_to_the_byte(tmp_path):
    case = write_case(tmp_path, "case_00000", kits_affine())
    predictions = {
        "kidneys": [write_predictions(tmp_path / "k", {"case_00000": ([WHOLE], [KIDNEY])})],
        "lesions": [write_predictions(tmp_path / "l", {"case_00000": ([WHOLE], [TUMOUR])})],
    }
    for output in ("one", "two"):
        merge([case], predictions, method(), tmp_path / output)
    first, second = (tmp_path / output / "case_00000.nii.gz" for output in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_without_cases_there_is_an_empty_folder(tmp_path):
    predictions = {
        name: [write_predictions(tmp_path / name, {})] for name in ("kidneys", "lesions")
    }
    merge([], predictions, method(), tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_a_case_that_a_stage_has_not_predicted_names_the_folder_to_delete(tmp_path):
    case = write_case(tmp_path, "case_00000", kits_affine())
    predictions = {
        "kidneys": [write_predictions(tmp_path / "k", {"case_00000": ([WHOLE], [KIDNEY])})],
        "lesions": [write_predictions(tmp_path / "l", {})],
    }
    with pytest.raises(InputError, match="case_00000 is missing: delete the folder") as told:
        merge([case], predictions, method(), tmp_path / "out")
    assert str(told.value).startswith(f"{tmp_path / 'l'}: ")


def test_a_region_is_cut_before_its_largest_component_is_kept():
    """A larger false tumour outside of the kidney does not displace the true one."""
    stray = block(np.s_[0:12], np.s_[12:16], np.s_[14:20])
    stages = {
        "kidneys": (case_of(WHOLE), [KIDNEY]),
        "lesions": (case_of(WHOLE), [np.maximum(TUMOUR, stray)]),
    }
    settings = merging(
        {
            "kidneys": {"maps": ["kidney"], "components": {}},
            "lesions": {"maps": ["tumour"], "components": {"keep": 1}},
        },
        kidney="kidneys",
        tumour="lesions",
    )
    assert np.array_equal(merge_case(stages, settings), EXPECTED)


def test_all_regions_are_cut_by_the_mask_that_they_lie_within():
    stages = {
        "kidneys": (case_of(WHOLE), [KIDNEY]),
        "lesions": (case_of(WHOLE), [TUMOUR]),
        "around": (case_of(WHOLE), [block(np.s_[0:6], np.s_[0:16], np.s_[0:20])]),
    }
    named = {"kidneys": "kidney", "lesions": "tumour", "around": "kidney"}
    settings = merging(
        {name: {"maps": [region], "components": {}} for name, region in named.items()},
        kidney="kidneys",
        tumour="lesions",
        within="around",
    )
    assert settings.merge.regions == ("kidney", "tumour")
    expected = EXPECTED.copy()
    expected[6:] = 0
    assert np.array_equal(merge_case(stages, settings), expected)


def test_a_row_without_stages_has_nothing_to_merge():
    with pytest.raises(ValueError, match="a row without stages has no maps to merge"):
        merge_case({}, Merging(family="external"))
