"""Tests of prediction: what is stored, means over models, and the way back to native voxels."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from renal import inference, prepare
from renal.errors import InputError
from renal.files import write_array
from renal.handover.checked import CheckedCase
from renal.image.boxes import extended_box
from renal.learn.inferers import infer
from renal.learn.networks import build_network
from renal.learn.settings import Prediction
from renal.learn.targets import maps_of, probabilities

SIZE = (16, 16, 16)
NATIVE = (20, 24, 28)
BOXES = [((0, 10), (2, 20), (4, 24)), ((8, 20), (0, 24), (1, 28))]
ROUNDING = 1 / 510 + 1e-6  # half of one of 255 levels


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)
    torch.manual_seed(0)


def prediction_settings(**changes: object) -> Prediction:
    values = {"name": "res_vnet_cascade", "width": 2, "dropout": 0.3}
    return Prediction.model_validate({"network": {**values, **changes}, "target": "whole"})


def write_model(path: Path, seed: int, scale: float = 8) -> torch.nn.Module:
    """Store a network with random weights, scaled so that its probabilities differ visibly."""
    torch.manual_seed(seed)
    network = build_network(prediction_settings().network, 1, "whole").eval()
    with torch.no_grad():
        for parameter in network.full_size.head.parameters():
            parameter *= scale
    save_file(network.state_dict(), path)
    return network


def case_of(regions: int, name: str = "case_00000") -> prepare.PreparedCase:
    return prepare.PreparedCase(name, NATIVE, BOXES[:regions])


def write_prepared(folder: Path, regions: dict[str, int]) -> Path:
    random = np.random.default_rng(2)
    cases = [case_of(count, name) for name, count in regions.items()]
    for case in cases:
        for number in range(len(case.boxes)):
            image = random.normal(size=SIZE).astype(np.float16)
            write_array(folder / f"{case.name}.{number}.image.npy", image)
    prepare.write_index(folder, cases)
    return folder


def predict(folders: list[Path], models: list[Path], output: Path, **changes: object) -> None:
    inference.predict(
        folders,
        models,
        prediction_settings(**changes),
        output,
        threads=1,
        bfloat16_on_cpu=False,
    )


def probabilities_of(folder: Path, name: str = "case_00000") -> list[np.ndarray]:
    return inference.read_probabilities(folder, prepare.read_index(folder)[name])


# -- storing --------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), maps=st.integers(1, 3), size=st.tuples(*[st.integers(1, 6)] * 3))
def test_eight_bits_are_right_to_half_a_level(tmp_path_factory, seed, maps, size):
    folder = tmp_path_factory.mktemp("probabilities")
    random = np.random.default_rng(seed)
    stored = [random.random((maps, *size), np.float32), random.random((maps, 3, 1, 1), np.float32)]
    inference.write_probabilities(folder, case_of(2), stored)
    read = inference.read_probabilities(folder, case_of(2))
    for before, after in zip(stored, read, strict=True):
        assert after.shape == before.shape
        assert after.dtype == np.float32
        assert np.abs(after - before).max() <= ROUNDING


def test_ends_of_the_scale_and_the_threshold_are_kept(tmp_path):
    stored = np.array([[[[0.0, 0.5, 1.0]]]], np.float32)
    inference.write_probabilities(tmp_path, case_of(1), [stored])
    (read,) = inference.read_probabilities(tmp_path, case_of(1))
    assert read[0, 0, 0, 0] == 0
    assert read[0, 0, 0, 2] == 1
    # Rounding takes no probability to the other side of the threshold.
    around = np.nextafter(np.float32(0.5), np.array([[[[0, 1]]]], np.float32))
    inference.write_probabilities(tmp_path, case_of(1), [around])
    (read,) = inference.read_probabilities(tmp_path, case_of(1))
    assert (read > inference.FOREGROUND).tolist() == [[[[False, True]]]]


def test_only_what_is_not_zero_is_stored_and_comes_back_to_its_place(tmp_path):
    stored = np.zeros((2, 9, 10, 11), np.float32)
    stored[0, 2:4, 3:8, 5:6] = 1
    stored[1, 3:4, 3:4, 5:7] = 1  # the box is one for all maps
    stored[:, 0, 0, 0] = 0.001  # less than half a level
    inference.write_probabilities(tmp_path, case_of(1), [stored])
    with np.load(tmp_path / "case_00000.npz") as arrays:
        assert arrays["levels0"].shape == (2, 2, 5, 2)
    (read,) = inference.read_probabilities(tmp_path, case_of(1))
    assert np.array_equal(read, np.where(stored == 1, 1, 0))


def test_empty_probabilities(tmp_path):
    inference.write_probabilities(tmp_path, case_of(1), [np.zeros((2, 4, 5, 6), np.float32)])
    (read,) = inference.read_probabilities(tmp_path, case_of(1))
    assert read.shape == (2, 4, 5, 6)
    assert not read.any()


def test_case_without_regions(tmp_path):
    inference.write_probabilities(tmp_path, case_of(0), [])
    assert inference.read_probabilities(tmp_path, case_of(0)) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "scrambled", "other"])
def test_damaged_probabilities_are_told_in_one_line(tmp_path, damage):
    path = tmp_path / "case_00000.npz"
    random = np.random.default_rng(0).random((1, 8, 8, 8), np.float32)
    inference.write_probabilities(tmp_path, case_of(1), [random])
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        inference.write_probabilities(tmp_path, case_of(0), [])
    elif damage == "scrambled":
        # A whole archive around bytes that are no longer what was compressed.
        middle = content.index(b"levels0.npy") + 100
        path.write_bytes(content[:middle] + bytes(50) + content[middle + 50 :])
    else:
        path.write_bytes({"empty": b"", "cut off": content[: len(content) // 2]}[damage])
    with pytest.raises(InputError, match=r"case_00000\.npz: missing or damaged") as error:
        inference.read_probabilities(tmp_path, case_of(1))
    assert "\n" not in str(error.value)
    assert f"delete the folder {tmp_path}" in str(error.value)


# -- predicting -----------------------------------------------------------------------------------


def test_prediction_is_the_networks_last_output(tmp_path):
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 1})
    network = write_model(tmp_path / "a.safetensors", 1)
    predict([folder], [tmp_path / "a.safetensors"], tmp_path / "out")
    image = torch.from_numpy(np.load(folder / "case_00000.0.image.npy")).float()
    with torch.inference_mode():
        expected = network(image[None, None])[-1].sigmoid()[0].numpy()
    (probability,) = probabilities_of(tmp_path / "out")
    assert probability.std() > 0.01
    assert np.abs(probability - expected).max() <= ROUNDING + 1e-5


def test_regions_are_stacked_for_the_network_and_parted_again(tmp_path):
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 2})
    network = write_model(tmp_path / "a.safetensors", 1)
    predict([folder], [tmp_path / "a.safetensors"], tmp_path / "out")
    regions = [np.load(folder / f"case_00000.{number}.image.npy") for number in range(2)]
    image = torch.from_numpy(np.concatenate(regions)).float()
    with torch.inference_mode():
        expected = network(image[None, None])[-1].sigmoid()[0].numpy()
    first, second = probabilities_of(tmp_path / "out")
    assert first.shape == second.shape == (1, *SIZE)
    assert np.abs(np.concatenate([first, second], axis=1) - expected).max() <= ROUNDING + 1e-5


def test_two_models_give_the_mean_of_their_probabilities(tmp_path):
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 1})
    models = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, model in enumerate(models):
        write_model(model, seed)
        predict([folder], [model], tmp_path / f"single{seed}")
    predict([folder], models, tmp_path / "both")
    single = [probabilities_of(tmp_path / f"single{seed}")[0] for seed in range(2)]
    assert np.abs(single[0] - single[1]).max() > 0.05
    (both,) = probabilities_of(tmp_path / "both")
    assert np.abs(both - (single[0] + single[1]) / 2).max() <= 2 * ROUNDING


def test_all_cases_of_all_folders_are_predicted_and_listed(tmp_path, caplog):
    caplog.set_level(logging.INFO, "renal")
    folders = [
        write_prepared(tmp_path / "one", {"case_00000": 1, "case_00001": 0}),
        write_prepared(tmp_path / "two", {"case_00002": 2}),
    ]
    write_model(tmp_path / "a.safetensors", 1)
    predict(folders, [tmp_path / "a.safetensors"], tmp_path / "out")
    index = prepare.read_index(tmp_path / "out")
    assert {name: case.boxes for name, case in index.items()} == {
        "case_00000": BOXES[:1],
        "case_00001": [],
        "case_00002": BOXES,
    }
    assert probabilities_of(tmp_path / "out", "case_00001") == []
    assert "case_00002: predicted, 3 of 3" in caplog.text


def test_prediction_repeats_to_the_byte(tmp_path):
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 1})
    write_model(tmp_path / "a.safetensors", 1)
    for output in ("one", "two"):
        predict([folder], [tmp_path / "a.safetensors"], tmp_path / output)
    first, second = (tmp_path / output / "case_00000.npz" for output in ("one", "two"))
    with np.load(first) as a, np.load(second) as b:
        assert all(np.array_equal(a[name], b[name]) for name in a.files)


@pytest.mark.parametrize("fault", ["missing", "text", "other network", "cut off"])
def test_weights_that_do_not_fit_are_told_in_one_line(tmp_path, fault):
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 1})
    model, changes = tmp_path / "a.safetensors", {}
    write_model(model, 1)
    if fault == "missing":
        model.unlink()
    elif fault == "text":
        model.write_text("no weights")
    elif fault == "cut off":
        model.write_bytes(model.read_bytes()[:-100])
    else:
        changes = {"width": 4}
    with pytest.raises(InputError, match=r"a\.safetensors: not a model of this recipe") as error:
        predict([folder], [model], tmp_path / "out", **changes)
    assert "\n" not in str(error.value)
    assert "delete it to train again" in str(error.value)


def test_a_prediction_that_is_not_a_number_is_told_and_not_stored(tmp_path):
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 0, "case_00001": 1})
    models = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    write_model(models[0], 1)
    write_model(models[1], 1, scale=float("nan"))
    with pytest.raises(InputError, match="prediction of case_00001 is not a number") as error:
        predict([folder], models, tmp_path / "out")
    assert str(error.value).startswith(f"{models[0]}, {models[1]}: ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "case_00001.npz").exists()
    assert not (tmp_path / "out" / "cases.json").exists()


# -- other targets and ways to predict ------------------------------------------------------------


def unet(dimensions: int) -> dict:
    width = {"depth": 2, "width": 2, "normalization": "instance"}
    return {"name": "unet", "dimensions": dimensions, **width}


def sliding(*size: int) -> dict:
    overlap = [side // 2 for side in size]
    return {"name": "sliding_window", "size": size, "overlap": overlap, "weighting": "gaussian"}


WAYS = {
    "classes": {"network": unet(3), "target": "classes"},
    "two maps, sliding window": {
        "network": unet(3),
        "target": ["whole", "tumour"],
        "inference": sliding(8, 8, 8),
    },
    "windows": {
        "network": unet(3),
        "target": "tumour",
        "inference": {"name": "windows", "length": 8, "step": 4, "keep": [2, 6]},
    },
    "slices with neighbours": {
        "network": unet(2),
        "target": ["tumour", "whole"],
        "channels_in": 3,
        "inference": {"name": "slices", "batch": 5},
    },
    "slices told apart": {
        "network": {"name": "resnet34_slices"},
        "target": "slices",
        "inference": {"name": "slices", "batch": 16},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_every_region_is_predicted_by_itself_unless_stacked(tmp_path, way):
    settings_of = Prediction.model_validate(WAYS[way])
    stacked = settings_of.inference.name == "whole"
    folder = write_prepared(tmp_path / "prepared", {"case_00000": 2, "case_00001": 1})
    # Regions of another size each, where they are not stacked.
    other = np.random.default_rng(5).normal(size=SIZE if stacked else (10, 16, 16))
    write_array(folder / "case_00000.1.image.npy", other.astype(np.float16))
    network = build_network(settings_of.network, settings_of.channels_in, settings_of.target)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    inference.predict(
        [folder],
        [tmp_path / "a.safetensors"],
        settings_of,
        tmp_path / "out",
        threads=1,
        bfloat16_on_cpu=False,
    )
    maps = len(maps_of(settings_of.target))
    first, second = probabilities_of(tmp_path / "out")
    plane = (1, 1) if settings_of.target == "slices" else SIZE[1:]
    assert first.shape == (maps, SIZE[0], *plane)
    assert second.shape == (maps, len(other), *plane)
    network.eval()

    def predictor(images: torch.Tensor) -> torch.Tensor:
        return probabilities(network(images)[-1], settings_of.target)

    images = [
        torch.from_numpy(np.load(folder / f"case_00000.{number}.image.npy")).float()
        for number in range(2)
    ]
    images = [torch.cat(images)] if stacked else images
    with torch.inference_mode():
        expected = [
            infer(image, predictor, settings_of.inference, context=settings_of.channels_in)
            for image in images
        ]
    found = [np.concatenate([first, second], axis=1)] if stacked else [first, second]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two.numpy(), atol=ROUNDING + 1e-5)
    assert probabilities_of(tmp_path / "out", "case_00001")[0].shape == (maps, SIZE[0], *plane)


# -- back to native voxels ------------------------------------------------------------------------


def test_a_grid_of_the_same_size_comes_back_as_it_is():
    probability = np.random.default_rng(1).random((10, 18, 20), np.float32)
    mask = inference.native_mask([probability], case_of(1))
    expected = np.zeros(NATIVE, bool)
    expected[0:10, 2:20, 4:24] = probability > 0.5
    assert mask.shape == NATIVE
    assert mask.dtype == bool
    assert np.array_equal(mask, expected)


def test_a_box_of_ones_comes_back_to_the_right_place():
    # The first box is 10 x 18 x 20 voxels; the grid halves z, keeps y, and doubles x.
    probability = np.zeros((5, 18, 40), np.float32)
    probability[1:4, 3:9, 10:30] = 1
    mask = inference.native_mask([probability], case_of(1))
    expected = np.zeros(NATIVE, bool)
    expected[2:8, 2 + 3 : 2 + 9, 4 + 5 : 4 + 15] = True
    assert np.array_equal(mask, expected)


@settings(max_examples=40, deadline=None)
@given(
    bounds=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(4, 8))] * 3),
    factor=st.integers(2, 3),
)
def test_a_box_of_ones_on_a_coarse_grid_comes_back_enlarged(bounds, factor):
    size = (8, 8, 8)
    box = tuple((2, 2 + factor * length) for length in size)
    case = prepare.PreparedCase("case_00000", tuple(4 + factor * length for length in size), [box])
    probability = np.zeros(size, np.float32)
    probability[tuple(slice(low, high) for low, high in bounds)] = 1
    mask = inference.native_mask([probability], case)
    expected = np.zeros(case.shape, bool)
    expected[tuple(slice(2 + factor * low, 2 + factor * high) for low, high in bounds)] = True
    # Interpolation rounds the edges off, where two or three faces meet: nothing is beyond.
    assert not (mask & ~expected).any()
    core = tuple(slice(2 + factor * low + 1, 2 + factor * high - 1) for low, high in bounds)
    assert mask[core].all()


def test_overlapping_regions_are_united():
    first, second = (np.zeros(size, np.float32) for size in ((10, 18, 20), (12, 24, 27)))
    first[8:10, 0:5, 0:5] = 1  # native z 8..10, y 2..7, x 4..9
    second[0:2, 4:9, 5:10] = 0.9  # native z 8..10, y 4..9, x 6..11
    second[0:2, 2:4, 3:5] = 0.2  # background here must not erase what the first region found
    mask = inference.native_mask([first, second], case_of(2))
    expected = np.zeros(NATIVE, bool)
    expected[8:10, 2:7, 4:9] = True
    expected[8:10, 4:9, 6:11] = True
    assert np.array_equal(mask, expected)


def test_the_same_region_twice_changes_nothing():
    probability = np.random.default_rng(3).random((8, 8, 8), np.float32)
    single = prepare.PreparedCase("case_00000", NATIVE, [BOXES[0]])
    double = prepare.PreparedCase("case_00000", NATIVE, [BOXES[0]] * 2)
    assert np.array_equal(
        inference.native_mask([probability], single),
        inference.native_mask([probability] * 2, double),
    )


def test_exactly_a_half_is_background():
    probability = np.full((10, 18, 20), 0.5, np.float32)
    assert not inference.native_mask([probability], case_of(1)).any()


@pytest.mark.parametrize("higher", [0, 1])
def test_where_regions_overlap_the_larger_probability_counts(higher):
    # Both regions hold the native box z 8..10, y 2..20, x 4..24.
    values = [0.3, 0.3]
    values[higher] = 0.8
    first = np.full((10, 18, 20), values[0], np.float32)
    second = np.full((12, 24, 27), values[1], np.float32)
    mask = inference.native_mask([first, second], case_of(2))
    assert mask[8:10, 2:20, 4:24].all()
    expected = np.zeros(NATIVE, bool)
    expected[tuple(slice(*side) for side in BOXES[higher])] = True
    assert np.array_equal(mask, expected)


def test_a_grid_that_is_larger_than_the_volume_is_cut_at_its_edge():
    # 4, 3 and 0 voxels more before and 2, 1 and 5 behind.
    box = ((-4, 22), (-3, 25), (0, 33))
    probability = np.zeros((26, 28, 33), np.float32)
    probability[2:9, 10:28, 20:33] = 1  # leaves the volume before z, behind y and x
    case = prepare.PreparedCase("case_00000", NATIVE, [box])
    mask = inference.native_mask([probability], case)
    expected = np.zeros(NATIVE, bool)
    expected[0:5, 7:24, 20:28] = True
    assert mask.shape == NATIVE and np.array_equal(mask, expected)
    outside = np.zeros_like(probability)
    outside[:3], outside[:, :2], outside[..., 30:] = 1, 1, 1
    assert not inference.native_mask([outside], case).any()


@settings(max_examples=30, deadline=None)
@given(
    extent=st.tuples(*[st.integers(1, 40)] * 3),
    factor=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_a_mask_on_an_extended_grid_comes_back(extent, factor, seed):
    box = extended_box(NATIVE, (1.0, 1.0, 1.0), extent)
    truth = np.random.default_rng(seed).random(NATIVE) < 0.5
    grid = np.zeros([high - low for low, high in box], np.float32)
    start = [-low for low, _ in box]
    grid[tuple(slice(s, s + n) for s, n in zip(start, NATIVE, strict=True))] = truth
    case = prepare.PreparedCase("case_00000", NATIVE, [box])
    if factor == 1:
        assert np.array_equal(inference.native_mask([grid], case), truth)
    for axis in range(3):
        grid = grid.repeat(factor, axis)
    # A native voxel lies between two of the finer grid, which are both its own.
    assert np.array_equal(inference.native_mask([grid], case), truth)


@pytest.mark.parametrize("rows", [(0, 20), (5, 15), (-3, 24), (-6, 20), (0, 25)])
def test_what_is_known_of_slices_alone_holds_for_their_whole_plane(rows):
    low, high = rows
    values = np.zeros(high - low, np.float32)
    native = np.zeros(20, bool)
    native[6:9] = native[12] = True
    values[6 - low : 9 - low] = values[12 - low] = 0.9
    if low < 0:
        values[0] = 0.9  # outside of the volume
    plane = ((2, 20), (0, 28)) if low == 5 else ((0, 24), (0, 28))
    case = prepare.PreparedCase("case_00000", NATIVE, [(rows, *plane)])
    mask = inference.native_mask([values.reshape(-1, 1, 1)], case)
    expected = np.zeros(NATIVE, bool)
    expected[native, plane[0][0] : plane[0][1], :] = True
    assert np.array_equal(mask, expected)


def test_slices_on_a_grid_that_leaves_the_volume_in_the_plane():
    box = ((-2, 22), (-4, 28), (-6, 34))
    values = np.full((12, 1, 1), 0.2, np.float32)
    values[6:8] = 1  # native slices 10 to 13
    mask = inference.native_mask([values], prepare.PreparedCase("case_00000", NATIVE, [box]))
    assert sorted(set(np.argwhere(mask)[:, 0])) == [10, 11, 12, 13]
    assert mask[10:14].all()


@pytest.mark.parametrize("regions", [0, 1, 2])
def test_nothing_found_gives_an_empty_mask(regions):
    probabilities = [np.zeros((4, 4, 4), np.float32)] * regions
    mask = inference.native_mask(probabilities, case_of(regions))
    assert mask.shape == NATIVE
    assert not mask.any()


def test_of_several_maps_the_first_says_where_to_look(tmp_path):
    whole, tumour = np.zeros((2, 10, 18, 20), np.float32)
    whole[2:8, 2:8, 2:8], tumour[3:5, 3:5, 3:5] = 1, 1
    inference.write_probabilities(tmp_path, case_of(1), [np.stack([whole, tumour])])
    prepare.write_index(tmp_path, [case_of(1)])
    mask, _ = inference.native_mask_of(tmp_path, CheckedCase("case_00000", "unused"))
    assert np.array_equal(mask, inference.native_mask([whole], case_of(1)))


def test_a_case_that_was_not_predicted_is_told(tmp_path):
    prepare.write_index(tmp_path, [case_of(1)])
    with pytest.raises(InputError, match=f"{tmp_path}: case_00001 is missing"):
        inference.native_mask_of(tmp_path, CheckedCase("case_00001", "unused"))


def test_mask_of_a_case_in_a_folder(tmp_path):
    probability = np.zeros((10, 18, 20), np.float32)
    probability[2:5, 2:5, 2:5] = 1
    inference.write_probabilities(tmp_path, case_of(1), [probability[None]])
    prepare.write_index(tmp_path, [case_of(1)])
    mask, _ = inference.native_mask_of(tmp_path, CheckedCase("case_00000", "unused"))
    assert np.array_equal(mask, inference.native_mask([probability], case_of(1)))


@pytest.mark.parametrize(
    ("boxes", "extent"),
    [
        ([], ((0, 20), (0, 24), (0, 28))),
        (BOXES[:1], BOXES[0]),
        (BOXES, ((0, 20), (0, 24), (1, 28))),
        ([((-4, 12), (3, 30), (2, 28))], ((0, 12), (3, 24), (2, 28))),
    ],
)
def test_what_was_looked_at_is_the_box_round_all_regions_within_the_volume(tmp_path, boxes, extent):
    case = prepare.PreparedCase("case_00000", NATIVE, boxes)
    inference.write_probabilities(tmp_path, case, [np.zeros((1, 2, 2, 2), np.float32)] * len(boxes))
    prepare.write_index(tmp_path, [case])
    mask, found = inference.native_mask_of(tmp_path, CheckedCase("case_00000", "unused"))
    assert found == extent
    assert mask.shape == NATIVE and not mask.any()
