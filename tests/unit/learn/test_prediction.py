"""Tests of prediction: the network's last output, means over models, and every way to predict."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from renal.errors import InputError
from renal.files import write_array, write_json
from renal.handover.predictions import read_probabilities
from renal.handover.prepared import PreparedCase, read_index, write_index
from renal.learn import prediction
from renal.learn.inferers import infer
from renal.learn.mean_predictor import MeanPredictor
from renal.learn.networks import build_network
from renal.learn.prediction import network_with
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
    return Prediction.model_validate({"network": {**values, **changes}, "target": "kidney"})


def write_model(path: Path, seed: int, scale: float = 8) -> torch.nn.Module:
    """Store a network with random weights, scaled so that its probabilities differ visibly."""
    torch.manual_seed(seed)
    network = build_network(prediction_settings().network, 1, "kidney").eval()
    with torch.no_grad():
        for parameter in network.full_size.head.parameters():
            parameter *= scale
    save_file(network.state_dict(), path)
    return network


def case_of(regions: int, name: str = "case_00000") -> PreparedCase:
    return PreparedCase(name, NATIVE, BOXES[:regions])


def write_prepared(folder: Path, regions: dict[str, int]) -> Path:
    random = np.random.default_rng(2)
    cases = [case_of(count, name) for name, count in regions.items()]
    for case in cases:
        for number in range(len(case.boxes)):
            image = random.normal(size=SIZE).astype(np.float16)
            write_array(folder / f"{case.name}.{number}.image.npy", image)
    write_index(folder, cases)
    return folder


def predict(folders: list[Path], models: list[Path], output: Path, **changes: object) -> None:
    prediction.predict(
        folders,
        models,
        prediction_settings(**changes),
        output,
        threads=1,
        bfloat16_on_cpu=False,
    )


def probabilities_of(folder: Path, name: str = "case_00000") -> list[np.ndarray]:
    return read_probabilities(folder, read_index(folder)[name])


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
    index = read_index(tmp_path / "out")
    assert {name: case.boxes for name, case in index.items()} == {
        "case_00000": BOXES[:1],
        "case_00001": [],
        "case_00002": BOXES,
    }
    assert probabilities_of(tmp_path / "out", "case_00001") == []
    assert "case_00002: predicted, 3 of 3" in caplog.text


@pytest.mark.parametrize("part", ["cases", "validation_cases"])
def test_a_model_that_has_learned_from_a_case_does_not_predict_it(tmp_path, part):
    """As where one fold's folder was copied over another's, with all that belongs to it."""
    folder = write_prepared(tmp_path / "one", {"case_00000": 1})
    write_model(tmp_path / "model.safetensors", 1)
    told = {"cases": ["case_00001"], "validation_cases": ["case_00002"]}
    write_json(tmp_path / "run.json", told)
    predict([folder], [tmp_path / "model.safetensors"], tmp_path / "out")
    write_json(tmp_path / "run.json", told | {part: ["case_00000"]})
    with pytest.raises(InputError, match="has learned from case_00000") as error:
        predict([folder], [tmp_path / "model.safetensors"], tmp_path / "again")
    assert "\n" not in str(error.value) and not (tmp_path / "again").exists()


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
        "target": ["kidney", "tumour"],
        "inference": sliding(8, 8, 8),
    },
    "windows": {
        "network": unet(3),
        "target": "tumour",
        "inference": {"name": "windows", "length": 8, "step": 4, "keep": [2, 6]},
    },
    "slices with neighbours": {
        "network": unet(2),
        "target": ["tumour", "kidney"],
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
    prediction.predict(
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
            infer([image], predictor, settings_of.inference, context=settings_of.channels_in)[0]
            for image in images
        ]
    found = [np.concatenate([first, second], axis=1)] if stacked else [first, second]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two.numpy(), atol=ROUNDING + 1e-5)
    assert probabilities_of(tmp_path / "out", "case_00001")[0].shape == (maps, SIZE[0], *plane)


@pytest.mark.parametrize("library", [torch.empty, np.empty])
def test_a_case_that_a_cpu_has_too_little_memory_for_is_named(tmp_path, monkeypatch, library):
    monkeypatch.setattr(MeanPredictor, "predict", lambda *_: library(1 << 58))
    folder = write_prepared(tmp_path / "prepared", {"case_00007": 1})
    write_model(tmp_path / "a.safetensors", 1)
    with pytest.raises(InputError, match=r"^case_00007: not enough memory \(.*allocate") as told:
        predict([folder], [tmp_path / "a.safetensors"], tmp_path / "out")
    assert "lower batch of the stage's inference" in str(told.value)
    assert "\n" not in str(told.value)


def test_loading_a_model_draws_nothing(tmp_path):
    write_model(tmp_path / "model.safetensors", seed=1)
    weights = (tmp_path / "model.safetensors").read_bytes()
    before = torch.get_rng_state()
    network = network_with(weights, prediction_settings())
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
