"""Tests of training: it learns, repeats to the byte, and survives being stopped and killed."""

import csv
import errno
import itertools
import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from renal import prepare, recipe, run_state, schedules, training
from renal.errors import InputError, Stopped
from renal.files import write_array
from renal.learn.augmentations import augment
from renal.learn.datasets import Examples, read_cases
from renal.learn.drawings import drawing_of
from renal.learn.losses import dice, training_loss, weight_of
from renal.learn.networks import build_network
from renal.learn.optimizers import build_optimizer
from renal.learn.schedules import step
from renal.learn.settings import Training
from renal.learn.targets import encode

PACKAGE = Path(training.__file__).parents[1]
CPU = torch.device("cpu")
EPOCHS = 4
RESULTS = ("model.safetensors", "history.csv")


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch):
    # Bytes repeat on a CPU only, so a GPU is not used where there is one.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)


def training_settings(**changes: object) -> Training:
    values = {
        "target": "whole",
        "sampler": {"name": "volume"},
        "network": {"name": "res_vnet_cascade", "width": 2, "dropout": 0.1},
        "loss": {"name": "dice", "squared": True},
        "optimizer": {"name": "adam", "learning_rate": 3e-3},
        "schedule": {"name": "step", "factor": 0.5, "epochs": 2},
        "epochs": EPOCHS,
        "batch_size": 2,
        "augmentation": [
            {"name": "rotation", "degrees": 90, "fill": -1},
            {"name": "flip", "probability": 0.5},
        ],
    }
    return Training.model_validate(recipe.merged(values, changes))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Three cases in which a bright block is the target."""
    folder = tmp_path_factory.mktemp("prepared")
    random = np.random.default_rng(3)
    cases = []
    for number in range(3):
        name = f"case_{number}"
        label = np.zeros((16, 16, 16), np.uint8)
        z, y, x = random.integers(2, 6, 3)
        label[z : z + 8, y : y + 8, x : x + 8] = 1
        image = np.where(label > 0, 1.0, -1.0) + 0.1 * random.normal(size=label.shape)
        write_array(folder / f"{name}.0.image.npy", image.astype(np.float16))
        write_array(folder / f"{name}.0.label.npy", label)
        cases.append(prepare.PreparedCase(name, label.shape, [((0, 16),) * 3]))
    prepare.write_index(folder, cases)
    return folder


def run_of(prepared: Path, settings: Training) -> tuple[training.Run, Examples]:
    """A run that has not begun, and its examples."""
    network = build_network(settings.network, settings.channels_in, settings.target)
    examples = Examples(read_cases([prepared], CPU), settings, CPU)
    optimizer = build_optimizer(network, settings.optimizer)
    drawing = drawing_of(settings.drawing, examples)
    return training.Run(network, optimizer, drawing, settings, 0, False), examples


def train(prepared: Path, output: Path, minutes: float = math.inf, **changes: object) -> None:
    training.train(
        [prepared],
        training_settings(**changes),
        output,
        seed=5,
        threads=1,
        bfloat16_on_cpu=False,
        name="tiny",
        minutes=minutes,
    )


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    """The folder of a run that nothing disturbed."""
    output = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train(prepared, output)
    return output


def assert_same_bytes(first: Path, second: Path) -> None:
    for name in RESULTS:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def read_history(output: Path) -> list[dict[str, float]]:
    with (output / "history.csv").open() as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def stop_in_epoch(monkeypatch, epoch: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal in the middle of an epoch, counted from 0."""
    original = training._epoch

    def interrupted(*arguments):
        if len(arguments[0].progress.history) == epoch:
            signal.raise_signal(number)
        return original(*arguments)

    monkeypatch.setattr(training, "_epoch", interrupted)


def count_epochs(monkeypatch) -> list[int]:
    """The epochs that are computed from here on, counted from 0."""
    epochs = []
    original = training._epoch

    def counted(*arguments):
        epochs.append(len(arguments[0].progress.history))
        return original(*arguments)

    monkeypatch.setattr(training, "_epoch", counted)
    return epochs


# -- learning -------------------------------------------------------------------------------------


def test_a_trivial_problem_is_learned(prepared, tmp_path):
    train(
        prepared,
        tmp_path,
        epochs=25,
        augmentation=[],
        network={"dropout": 0.0},
        optimizer={"learning_rate": 1e-2},
        schedule={"factor": 1.0},
    )
    history = read_history(tmp_path)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["dice"] > 0.9


def test_learning_rate_falls_in_steps():
    settings = training_settings(
        optimizer={"learning_rate": 1e-3}, schedule={"factor": 0.9, "epochs": 10}
    )
    expected = {0: 1e-3, 9: 1e-3, 10: 9e-4, 19: 9e-4, 20: 8.1e-4, 499: 1e-3 * 0.9**49}
    for epochs, rate in expected.items():
        history = [{"epoch": number + 1, "loss": 0.5} for number in range(epochs)]
        assert schedules.learning_rate(settings, history) == pytest.approx(rate)


def test_a_schedule_is_asked_with_the_rows_so_far(prepared, tmp_path, monkeypatch):
    seen = []

    def factor(history, **settings):
        seen.append(([row["epoch"] for row in history], settings))
        return 0.5

    monkeypatch.setattr(step, "factor", factor)
    train(prepared, tmp_path, epochs=3)
    assert [epochs for epochs, _ in seen] == [[], [1], [1, 2]]
    assert all(settings == {"factor": 0.5, "epochs": 2} for _, settings in seen)
    assert [row["learning_rate"] for row in read_history(tmp_path)] == [1.5e-3] * 3


def test_the_optimizer_is_the_one_of_the_recipe():
    network = torch.nn.Linear(2, 1)
    optimizer = build_optimizer(network, training_settings().optimizer)
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert group["params"] == list(network.parameters())
    assert (group["lr"], group["betas"], group["eps"]) == (3e-3, (0.9, 0.999), 1e-8)
    assert group["weight_decay"] == 0 and not group["amsgrad"]


def test_the_optimizer_gets_the_learning_rate_of_the_epoch(prepared, tmp_path, monkeypatch):
    rates = []
    original = torch.optim.Adam.step

    def remember(optimizer, *arguments):
        rates.append(optimizer.param_groups[0]["lr"])
        return original(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", remember)
    train(prepared, tmp_path)
    # Three cases in batches of two are two steps an epoch; the rate is halved every two epochs.
    assert rates == [3e-3] * 4 + [1.5e-3] * 4
    assert [row["learning_rate"] for row in read_history(tmp_path)] == [3e-3, 3e-3, 1.5e-3, 1.5e-3]


def test_every_case_is_seen_once_an_epoch_in_changing_order(prepared, tmp_path, monkeypatch):
    batches = []
    original = Examples.batch

    def remember(examples, indices, generator):
        batches.append(indices)
        return original(examples, indices, generator)

    monkeypatch.setattr(Examples, "batch", remember)
    train(prepared, tmp_path, epochs=6)
    assert [len(batch) for batch in batches] == [2, 1] * 6
    orders = [batches[i] + batches[i + 1] for i in range(0, 12, 2)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len(set(map(tuple, orders))) > 1


def test_dropout_is_at_work_in_every_epoch(prepared, tmp_path, monkeypatch):
    modes = []
    original = training.training_step

    def remember(run, *arguments):
        modes.append(run.network.training)
        run.network.eval()  # as something within an epoch might leave it
        return original(run, *arguments)

    monkeypatch.setattr(training, "training_step", remember)
    train(prepared, tmp_path, epochs=2, batch_size=3)
    assert modes == [True, True]


def test_one_step_of_training_goes_down_the_gradient(prepared):
    torch.manual_seed(0)
    changes = {"network": {"dropout": 0.0}, "optimizer": {"learning_rate": 1e-3}}
    run, examples = run_of(prepared, training_settings(**changes))
    image, label = examples.batch([0, 1], torch.Generator())
    target = encode(label, "whole")
    losses = [training.training_step(run, image, target)[0].item() for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    loss, outputs = training.training_step(run, image, target)
    assert not loss.requires_grad
    assert [output.shape for output in outputs] == [image.shape, image.shape]


def test_dice_of_the_curves_by_hand():
    # Two cases of two maps of three voxels.
    found = torch.tensor([[[1, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]).bool()
    truth = torch.tensor([[[1, 0, 0], [0, 0, 1]], [[1, 1, 1], [0, 0, 0]]]).bool()
    found, truth = (maps.reshape(2, 2, 1, 1, 3) for maps in (found, truth))
    by_example = training._dice(found, truth, (2, 3, 4))
    assert by_example.tolist() == [pytest.approx([2 / 3, 0]), pytest.approx([2 / 4, 1])]
    by_map = training._dice(found, truth, (0, 2, 3, 4))
    assert by_map.tolist() == pytest.approx([4 / 7, 0])
    assert training._dice(~found[:0], ~found[:0], (0, 2, 3, 4)).tolist() == [1, 1]


# -- what is learned ------------------------------------------------------------------------------


UNET = {"name": "unet", "depth": 2, "width": 4, "normalization": "instance"}
VOLUMES = {
    "network": {**UNET, "dimensions": 3},
    "sampler": {"name": "patches", "size": [8, 8, 8], "per_case": 2},
}
SLICES = {"network": {**UNET, "dimensions": 2}, "sampler": {"name": "slices", "context": 3}}
SOFTMAX = {"name": "dice_cross_entropy", "squared": False, "activation": "softmax"}


@pytest.mark.parametrize(
    "changes",
    [
        {**VOLUMES, "target": ["whole", "tumour"]},
        {**VOLUMES, "target": "classes", "loss": SOFTMAX},
        {**VOLUMES, "sampler": {"name": "windows", "length": 8}},
        {**SLICES, "target": "tumour"},
        {**SLICES, "target": "classes", "loss": SOFTMAX},
        {
            **SLICES,
            "network": {"name": "resnet34_slices"},
            "target": "slices",
            "loss": {"name": "cross_entropy"},
            "drawing": {"name": "balanced", "positive_share": 0.5},
            "batch_size": 24,
        },
    ],
    ids=["maps", "classes of patches", "windows", "slices", "classes of slices", "slices told"],
)
def test_an_epoch_of_every_kind_of_target(prepared, changes):
    torch.manual_seed(0)
    run, examples = run_of(prepared, training_settings(**changes))
    before = [parameter.clone() for parameter in run.network.parameters()]
    row = training._epoch(run, examples, run_state.StopFlag())
    assert row["epoch"] == 1 and row["learning_rate"] == 3e-3
    assert 0 < row["loss"] < 10 and 0 <= row["dice"] <= 1
    changed = [
        not torch.equal(one, two) for one, two in zip(before, run.network.parameters(), strict=True)
    ]
    assert sum(changed) > 0.8 * len(changed)


def test_what_is_learned_from_is_augmented_as_label_and_compared_as_target(prepared, monkeypatch):
    """A slice that a rotation turns the kidney out of holds none."""
    settings = training_settings(
        **{**SLICES, "network": {"name": "resnet34_slices"}},
        target="slices",
        loss={"name": "cross_entropy"},
        batch_size=16,
    )
    run, examples = run_of(prepared, settings)
    seen = []

    def emptied(image, label, transforms):
        assert transforms == settings.augmentation
        image, label = augment(image, label, transforms)
        assert set(label.unique().tolist()) <= {0.0, 1.0}
        return image, torch.zeros_like(label)

    def remember(_, image, target):
        seen.append(target)
        return torch.zeros(()), (torch.zeros(len(image), 1, 1, 1, 1) - 1,)

    monkeypatch.setattr(training, "augment", emptied)
    monkeypatch.setattr(training, "training_step", remember)
    row = training._epoch(run, examples, run_state.StopFlag())
    assert all(target.shape[1:] == (1, 1, 1, 1) and not target.any() for target in seen)
    assert row["dice"] == 1


def test_the_loss_is_the_mean_over_outputs_unless_supervision_says_otherwise():
    torch.manual_seed(0)
    outputs = tuple(torch.randn(3, 1, 1, 2, 2, 2))
    target = torch.ones(1, 1, 2, 2, 2)
    single = [dice.loss(output, target, squared=True).item() for output in outputs]
    plain = training_settings()
    assert training_loss(outputs, target, plain, 7).item() == pytest.approx(sum(single) / 3)
    assert training_loss(outputs[-1:], target, plain, 7).item() == pytest.approx(single[-1])
    decaying = training_settings(supervision={"weight": 0.33, "factor": 0.8, "epochs": 15})
    for epoch, weight in ((0, 0.33), (14, 0.33), (15, 0.264), (29, 0.264), (30, 0.2112)):
        assert weight_of(decaying.supervision, epoch) == pytest.approx(weight)
        expected = weight * (single[0] + single[1]) + single[2]
        assert training_loss(outputs, target, decaying, epoch).item() == pytest.approx(expected)
    assert training_loss(outputs[-1:], target, decaying, 0).item() == pytest.approx(single[-1])


def test_supervision_decays_with_the_epochs_that_are_over(prepared, tmp_path, monkeypatch):
    epochs = []
    original = training.training_loss

    def remember(outputs, target, settings, epoch):
        epochs.append(epoch)
        return original(outputs, target, settings, epoch)

    monkeypatch.setattr(training, "training_loss", remember)
    train(prepared, tmp_path, epochs=3, batch_size=3)
    assert epochs == [0, 1, 2]


# -- validation -----------------------------------------------------------------------------------


VALIDATION = {"share": 0.34, "keep": "best"}
# Falls and rises again from epoch to epoch.
RESTLESS = {
    "optimizer": {"learning_rate": 0.03},
    "schedule": {"factor": 1.0},
    "network": {"dropout": 0.0},
    "validation": VALIDATION,
}


@pytest.fixture(scope="module")
def restless(prepared, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("restless")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train(prepared, output, epochs=7, **RESTLESS)
    return output


def read_run(output: Path) -> dict:
    return json.loads((output / "run.json").read_text())


def test_a_split_is_watched_and_recorded(restless):
    run, history = read_run(restless), read_history(restless)
    assert sorted(run["cases"] + run["validation_cases"]) == ["case_0", "case_1", "case_2"]
    assert len(run["validation_cases"]) == 1
    assert list(history[0]) == [
        "epoch",
        "learning_rate",
        "loss",
        "dice",
        "validation_loss",
        "validation_dice",
    ]
    assert all(0 <= row["validation_dice"] <= 1 for row in history)


def test_the_best_model_is_that_of_its_epoch(restless, prepared, tmp_path):
    history = read_history(restless)
    losses = [row["validation_loss"] for row in history]
    best = losses.index(min(losses)) + 1
    assert 1 < best < len(history)  # or the test would show nothing
    assert read_run(restless)["kept_epoch"] == best
    assert read_run(restless)["epochs"] == len(history)
    last = {**RESTLESS, "validation": {**VALIDATION, "keep": "last"}}
    train(prepared, tmp_path, epochs=best, **last)
    first, second = (folder / "model.safetensors" for folder in (restless, tmp_path))
    assert first.read_bytes() == second.read_bytes()
    assert read_run(tmp_path)["kept_epoch"] == best
    assert read_history(tmp_path) == history[:best]


def test_the_validation_loss_is_that_of_the_kept_model_on_the_watched_cases(restless, prepared):
    run, history = read_run(restless), read_history(restless)
    settings = training_settings(**RESTLESS)
    network = build_network(settings.network, 1, "whole")
    network.load_state_dict(load_file(restless / "model.safetensors"))
    cases = [case for case in read_cases([prepared], CPU) if case.name in run["validation_cases"]]
    ((_, image, label),) = Examples(cases, settings, CPU).batches([0], 0)
    target = encode(label, "whole")
    with torch.inference_mode():
        outputs = network.eval()(image)
        loss = training_loss(outputs, target, settings, 0).item()
    found, truth = outputs[-1].sigmoid() > 0.5, target > 0
    overlap = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    row = history[run["kept_epoch"] - 1]
    # Augmentation and dropout are for what is learned from.
    assert row["validation_loss"] == pytest.approx(loss, abs=1e-5)
    assert row["validation_dice"] == pytest.approx(overlap.item(), abs=1e-5)


def test_watching_changes_nothing_of_what_is_learned(prepared, tmp_path):
    validation = {"share": 0.34, "keep": "last"}
    train(prepared, tmp_path / "watched", validation=validation)
    learned = read_run(tmp_path / "watched")["cases"]
    folder = tmp_path / "learned"
    folder.mkdir()
    index = prepare.read_index(prepared)
    for name in learned:
        for path in prepared.glob(f"{name}.*"):
            (folder / path.name).write_bytes(path.read_bytes())
    prepare.write_index(folder, [index[name] for name in learned])
    train(folder, tmp_path / "alone")
    first, second = (tmp_path / name / "model.safetensors" for name in ("watched", "alone"))
    assert first.read_bytes() == second.read_bytes()


def test_losses_of_unequal_batches_weigh_by_their_examples(prepared, monkeypatch):
    changes = {"batch_size": 2, "augmentation": []}
    run, examples = run_of(prepared, training_settings(**changes))
    losses = iter([torch.tensor(1.0), torch.tensor(4.0)])
    monkeypatch.setattr(training, "training_loss", lambda *_: next(losses))
    row = training._validate(run, examples, run_state.StopFlag())
    assert row["validation_loss"] == pytest.approx((2 * 1 + 4) / 3)
    assert not run.network.training


def test_validation_draws_the_same_in_every_epoch(prepared, monkeypatch):
    run, examples = run_of(prepared, training_settings(**VOLUMES))
    seen = []
    monkeypatch.setattr(
        training, "encode", lambda label, target: seen.append(label) or encode(label, target)
    )
    for _ in range(2):
        torch.rand(1)
        training._validate(run, examples, run_state.StopFlag())
        run.progress.history.append({"loss": 1.0})
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


# -- when training is over ------------------------------------------------------------------------


def rows(*losses: float, key: str = "validation_loss") -> list[dict[str, float]]:
    return [{"loss": 1.0, key: loss} for loss in losses]


def test_without_stopping_training_ends_with_the_last_epoch():
    settings = training_settings(epochs=3)
    assert [training.is_over(settings, rows(*[1.0] * count)) for count in range(5)] == [
        *[False] * 3,
        *[True] * 2,
    ]


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ((), False),
        ((0.9,), False),
        ((0.9, 0.8, 0.7, 0.6), False),
        ((0.5, 0.6, 0.7), False),
        ((0.5, 0.6, 0.7, 0.8), True),
        ((0.5, 0.5, 0.5, 0.5), True),  # as good is not better
        ((0.5, 0.6, 0.7, 0.4), False),
        ((0.5, 0.6, 0.7, 0.4, 0.5, 0.5), False),
        ((0.5, 0.6, 0.7, 0.4, 0.5, 0.5, 0.5), True),
        ((0.5, math.nan, math.inf, 0.6), True),
        ((math.nan, 0.9, 0.9, 0.9), False),
        ((math.nan, 0.9, 0.9, 0.9, 0.9), True),
    ],
)
@pytest.mark.parametrize("key", ["validation_loss", "loss"])
def test_training_stops_after_epochs_without_a_better_loss(losses, over, key):
    settings = training_settings(epochs=50, stopping={"patience": 3})
    assert training.is_over(settings, rows(*losses, key=key)) == over


def test_training_stops_below_a_learning_rate():
    settings = training_settings(
        epochs=50,
        optimizer={"learning_rate": 1e-2},
        schedule={"name": "plateau", "factor": 0.1, "patience": 2},
        stopping={"patience": 30, "minimum_rate": 5e-4},
    )
    # 1e-2, and after two epochs without a better loss 1e-3, after two more 1e-4.
    assert [training.is_over(settings, rows(*[0.5] * count)) for count in range(7)] == [
        *[False] * 5,
        *[True] * 2,
    ]
    assert not training.is_over(settings, rows(0.5, 0.5, 0.5, 0.4, 0.4))


@pytest.mark.parametrize(
    ("losses", "best"),
    [((3, 2, 1), 2), ((1, 2, 1), 0), ((math.nan, 2, 2), 1), ((math.nan, math.inf), 0)],
)
def test_the_best_epoch_is_the_first_with_the_lowest_loss(losses, best):
    assert training.best_epoch(rows(*losses)) == best


def test_a_run_that_stops_by_itself_leaves_a_whole_result(prepared, tmp_path, caplog):
    caplog.set_level(logging.INFO, "renal")
    still = {"optimizer": {"learning_rate": 1e-30}, "validation": VALIDATION}
    train(prepared, tmp_path, epochs=50, stopping={"patience": 2}, **still)
    assert read_run(tmp_path)["epochs"] == 3
    assert read_run(tmp_path)["kept_epoch"] == 1
    assert len(read_history(tmp_path)) == 3
    assert "tiny: epoch 3/50" in caplog.text
    assert not (tmp_path / "state.pt").exists()


# -- pretrained weights ---------------------------------------------------------------------------


def test_pretrained_weights_are_where_training_begins(prepared, tmp_path, monkeypatch):
    given = []
    settings = training_settings()

    def load(network, path, expected):
        given.append((path, expected))
        assert not any(parameter.is_cuda for parameter in network.parameters())

    monkeypatch.setattr(training, "load_pretrained", load)
    network = settings.network.model_copy(update={"pretrained": "as the recipe says"})
    settings = settings.model_copy(update={"network": network, "epochs": 1})
    for weights in (tmp_path / "weights.pth", None):
        training.train(
            [prepared],
            settings,
            tmp_path / "model",
            seed=5,
            threads=1,
            bfloat16_on_cpu=False,
            weights=weights,
        )
    assert given == [(tmp_path / "weights.pth", "as the recipe says")]


# -- what is written ------------------------------------------------------------------------------


def test_results(uninterrupted, prepared):
    assert sorted(path.name for path in uninterrupted.iterdir()) == [
        "history.csv",
        "model.safetensors",
        "run.json",
        "state.lock",
    ]
    history = read_history(uninterrupted)
    assert list(history[0]) == ["epoch", "learning_rate", "loss", "dice"]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    network = build_network(training_settings().network, 1, "whole")
    network.load_state_dict(load_file(uninterrupted / "model.safetensors"))


def test_run_record(uninterrupted):
    run = json.loads((uninterrupted / "run.json").read_text())
    assert set(run) == {
        "finished",
        "seconds",
        "epochs",
        "kept_epoch",
        "cases",
        "validation_cases",
        "seed",
        "settings",
        "fingerprint",
        "commit",
        "parameters",
        "device",
        "processes",
        "threads",
        "peak_memory_mb",
        "python",
        "torch",
    }
    assert run["epochs"] == EPOCHS
    assert run["kept_epoch"] == EPOCHS
    assert run["cases"] == ["case_0", "case_1", "case_2"]
    assert run["validation_cases"] == []
    assert run["seed"] == 5
    assert run["processes"] == run["threads"] == 1
    assert run["torch"] == torch.__version__
    assert run["seconds"] > 0
    assert run["peak_memory_mb"] > 0
    weights = load_file(uninterrupted / "model.safetensors")
    assert run["parameters"] == sum(weight.numel() for weight in weights.values())
    assert Training.model_validate(run["settings"]) == training_settings()


def test_the_last_epoch_is_always_logged(prepared, tmp_path, caplog):
    caplog.set_level(logging.INFO, "renal")
    train(prepared, tmp_path, epochs=2)
    assert "tiny: epoch 2/2, loss 0." in caplog.text
    assert "training Dice" in caplog.text


def test_line_of_progress_by_hand():
    progress = training.Progress(epoch=2, seconds=20)
    row = {"loss": 0.51234, "dice": 0.25}
    line = training._progress_line(row, progress, 10)
    assert line == "epoch 2/10, loss 0.512, training Dice 0.250, at most 80 s left"
    assert training._progress_line(row, progress, 100).endswith(", at most 16 min left")
    row |= {"validation_loss": 0.4, "validation_dice": 0.75}
    line = training._progress_line(row, progress, 10)
    assert "training Dice 0.250, validation Dice 0.750, at most 80 s left" in line


# -- the same bytes again -------------------------------------------------------------------------


def test_a_second_run_gives_the_same_bytes(uninterrupted, prepared, tmp_path):
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


def test_another_seed_gives_another_model(uninterrupted, prepared, tmp_path):
    training.train(
        [prepared],
        training_settings(),
        tmp_path,
        seed=6,
        threads=1,
        bfloat16_on_cpu=False,
    )
    first, second = (folder / "model.safetensors" for folder in (uninterrupted, tmp_path))
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog, number
):
    caplog.set_level(logging.INFO, "renal")
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1, number)
        with pytest.raises(Stopped, match="stopped after epoch 2 of 4: run again"):
            train(prepared, tmp_path)
    assert signal.getsignal(number) is handler
    assert (tmp_path / "state.pt").exists()
    assert not any((tmp_path / name).exists() for name in (*RESULTS, "run.json"))
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    assert "tiny: going on after epoch 2" in caplog.text
    assert epochs == [2, 3]
    assert_same_bytes(uninterrupted, tmp_path)
    assert not (tmp_path / "state.pt").exists()


def test_a_run_that_is_stopped_after_every_epoch(uninterrupted, prepared, tmp_path, monkeypatch):
    for epoch in range(EPOCHS - 1):
        with monkeypatch.context() as patch:
            stop_in_epoch(patch, epoch)
            with pytest.raises(Stopped):
                train(prepared, tmp_path)
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


def test_told_to_stop_in_the_last_epoch_a_run_finishes(
    uninterrupted, prepared, tmp_path, monkeypatch
):
    stop_in_epoch(monkeypatch, EPOCHS - 1)
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


# Everything that a run remembers: a split, the best model, hard cases, a plateau, random patches.
REMEMBERING = {
    **VOLUMES,
    "drawing": {"name": "hard", "unit": "case", "epochs": 1, "strength": 2, "least": 0.1},
    "optimizer": {"learning_rate": 0.15},
    "schedule": {"name": "plateau", "factor": 0.5, "patience": 1},
    "validation": VALIDATION,
    "stopping": {"patience": 6},
    "epochs": 6,
}


@pytest.fixture(scope="module")
def remembering(prepared, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("remembering")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train(prepared, output, **REMEMBERING)
    return output


def test_hard_drawing_says_how_hard_its_examples_were(remembering, prepared):
    with (remembering / "drawing.csv").open() as stream:
        drawn = list(csv.DictReader(stream))
    assert list(drawn[0]) == ["case", "place", "case_dice", "dice", "weight"]
    learned = read_run(remembering)["cases"]
    assert [row["case"] for row in drawn] == [name for name in learned for _ in range(2)]
    assert any(float(row["dice"]) > 0 for row in drawn)
    assert {row["weight"] for row in drawn} != {"1.0000"}
    assert len({(row["case"], row["weight"]) for row in drawn}) == len(learned)


def test_only_hard_drawing_has_something_to_say(uninterrupted):
    assert not (uninterrupted / "drawing.csv").exists()


def test_the_drawing_is_told_the_dice_of_what_was_drawn(prepared, monkeypatch):
    settings = training_settings(**REMEMBERING)
    run, examples = run_of(prepared, settings)
    monkeypatch.setattr(run.drawing, "order", lambda _: [5, 0, 3])
    places = {5: 1.0, 0: 0.0, 3: 0.5}
    scores = iter(places.values())

    def perfect_or_not(_, image, target):
        maps = [torch.full_like(target[:1], 20.0 * (next(scores) > 0)) for _ in image]
        return torch.zeros(()), (torch.cat(maps) - 10,)

    monkeypatch.setattr(training, "training_step", perfect_or_not)
    monkeypatch.setattr(training, "encode", lambda label, _: torch.ones_like(label))
    training._epoch(run, examples, run_state.StopFlag())
    assert run.drawing.state["dice"].tolist() == [0, 0, 0, 1, 0, 1]


def test_what_a_run_remembers_is_there_after_every_stop(
    remembering, prepared, tmp_path, monkeypatch
):
    history = read_history(remembering)
    assert len({row["learning_rate"] for row in history}) > 1
    # The best model lies in the state while later ones are tried.
    assert read_run(remembering)["kept_epoch"] < len(history)
    for epoch in range(len(history) - 1):
        with monkeypatch.context() as patch:
            stop_in_epoch(patch, epoch)
            with pytest.raises(Stopped):
                train(prepared, tmp_path, **REMEMBERING)
    train(prepared, tmp_path, **REMEMBERING)
    for name in (*RESULTS, "drawing.csv"):
        assert (remembering / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert read_run(tmp_path)["kept_epoch"] == read_run(remembering)["kept_epoch"]


def test_reading_ahead_changes_no_result(remembering, prepared, tmp_path, monkeypatch):
    def in_turn(examples, order, seed):
        generator, size = torch.Generator().manual_seed(seed), examples.settings.batch_size
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield part, *examples.batch(part, generator)

    monkeypatch.setattr(Examples, "batches", in_turn)
    train(prepared, tmp_path, **REMEMBERING)
    for name in (*RESULTS, "drawing.csv"):
        assert (remembering / name).read_bytes() == (tmp_path / name).read_bytes(), name


def stop_in_batch(monkeypatch, batch: int) -> None:
    """Send this process a signal in the middle of a batch, counted from 0 over all epochs."""
    original, batches = training.training_step, itertools.count()

    def interrupted(*arguments):
        if next(batches) == batch:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(training, "training_step", interrupted)


@pytest.mark.parametrize("state_every_epoch", [False, True])
def test_an_epoch_that_takes_too_long_to_end_is_given_up(
    uninterrupted, prepared, tmp_path, monkeypatch, state_every_epoch
):
    with monkeypatch.context() as patch:
        patch.setattr(run_state, "SECONDS_TO_END_AN_EPOCH", -1.0)
        if state_every_epoch:
            patch.setattr(training, "SECONDS_BETWEEN_STATES", 0.0)
        stop_in_batch(patch, 4)  # the first of two in the third epoch
        with pytest.raises(Stopped, match="stopped within epoch 3: run again"):
            train(prepared, tmp_path)
    # No state of half an epoch: at most that of the epoch before.
    assert (tmp_path / "state.pt").exists() == state_every_epoch
    assert not any((tmp_path / name).exists() for name in (*RESULTS, "run.json"))
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    assert epochs == ([2, 3] if state_every_epoch else [0, 1, 2, 3])
    assert_same_bytes(uninterrupted, tmp_path)


def test_an_epoch_within_its_time_is_ended(prepared, tmp_path, monkeypatch):
    stop_in_batch(monkeypatch, 4)
    with pytest.raises(Stopped, match="stopped after epoch 3 of 4"):
        train(prepared, tmp_path)


def test_a_run_stops_before_its_time_is_over_and_goes_on(tmp_path, monkeypatch, prepared):
    monkeypatch.setattr(training, "SECONDS_BEFORE_THE_LIMIT", 60.0)
    with pytest.raises(Stopped, match="after epoch 1"):
        train(prepared, tmp_path / "model", minutes=1)
    assert (tmp_path / "model/state.pt").exists()
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path / "model")
    assert epochs == [1, 2, 3]


def test_a_stop_is_overdue_once_its_time_has_passed(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(run_state.time, "monotonic", lambda: now)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with run_state.stop_signal() as stop:
        assert not stop.is_set and not stop.is_overdue
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set and not stop.is_overdue
        now += run_state.SECONDS_TO_END_AN_EPOCH
        signal.raise_signal(signal.SIGINT)  # being told again gives no more time
        assert stop.since == 1000.0 and not stop.is_overdue
        now += 0.1
        assert stop.is_set and stop.is_overdue
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


KILLED = """
import json, logging, os, signal, sys
from pathlib import Path
from renal import recipe, training

training.torch.cuda.is_available = lambda: False
training.SECONDS_BETWEEN_STATES = 0.0
original = training._epoch

def killed(*arguments):
    if len(arguments[0].progress.history) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

training._epoch = killed
settings = Training.model_validate_json(sys.argv[3])
training.train([Path(sys.argv[1])], settings, Path(sys.argv[2]), seed=5, threads=1,
               bfloat16_on_cpu=False, name="tiny")
"""


def test_a_killed_run_goes_on_to_the_same_bytes(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "renal")
    settings = training_settings().model_dump_json()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(prepared), str(tmp_path), settings],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "state.pt").exists()
    assert not (tmp_path / "model.safetensors").exists()
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    assert "tiny: going on after epoch 3" in caplog.text
    assert epochs == [3]
    assert_same_bytes(uninterrupted, tmp_path)


# -- states that must not be continued ------------------------------------------------------------


def stopped_run(prepared: Path, output: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(Stopped):
            train(prepared, output)


def test_a_state_of_other_settings_is_not_used(prepared, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "renal")
    change = {"optimizer": {"learning_rate": 1e-3}}
    train(prepared, tmp_path / "fresh", **change)
    stopped_run(prepared, tmp_path / "stopped", monkeypatch)
    train(prepared, tmp_path / "stopped", **change)
    assert "made with other settings, data or code: starting from the first epoch" in caplog.text
    assert "going on" not in caplog.text
    assert_same_bytes(tmp_path / "fresh", tmp_path / "stopped")


def test_a_state_outlives_a_schema_that_grows(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "renal")
    stopped_run(prepared, tmp_path / "stopped", monkeypatch)

    class Grown(Training):
        added: float | None = None

    monkeypatch.setattr(recipe, "Training", Grown)
    train(prepared, tmp_path / "stopped")
    assert "going on after epoch" in caplog.text
    assert_same_bytes(uninterrupted, tmp_path / "stopped")


def test_a_state_of_other_data_is_not_used(tmp_path, monkeypatch, prepared):
    copy = tmp_path / "prepared"
    copy.mkdir()
    for path in prepared.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    stopped_run(copy, tmp_path / "model", monkeypatch)
    label = np.load(copy / "case_0.0.label.npy")
    write_array(copy / "case_0.0.label.npy", label[::-1])
    epochs = count_epochs(monkeypatch)
    train(copy, tmp_path / "model")
    assert epochs == [0, 1, 2, 3]


def test_a_state_of_other_code_is_not_used(tmp_path, monkeypatch, prepared):
    stopped_run(prepared, tmp_path / "model", monkeypatch)
    monkeypatch.setattr(run_state, "code_hash", lambda *names: "another")
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path / "model")
    assert epochs == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["cut off", "empty", "text", "list", "program"])
def test_a_damaged_state_is_not_used(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog, damage
):
    stopped_run(prepared, tmp_path, monkeypatch)
    state = tmp_path / "state.pt"
    if damage == "list":
        torch.save([1, 2], state)
    elif damage == "program":  # what could run code when it is loaded is refused
        torch.save({"fingerprint": print}, state)
    else:
        content = state.read_bytes()
        state.write_bytes({"cut off": content[:-2000], "empty": b"", "text": b"state"}[damage])
    caplog.set_level(logging.WARNING, "renal")
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "cannot be used" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert epochs == [0, 1, 2, 3]
    assert_same_bytes(uninterrupted, tmp_path)


def test_states_are_not_written_more_often_than_they_are_worth(prepared, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(training, "write_state", lambda path, *_: written.append(path))
    train(prepared, tmp_path / "seldom")
    assert written == []
    monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", 0.0)
    train(prepared, tmp_path / "often")
    assert len(written) == EPOCHS - 1  # the last epoch ends in the model


# -- faults ---------------------------------------------------------------------------------------

HOLD_LOCK = """
import fcntl, sys
stream = open(sys.argv[1], "w")
fcntl.flock(stream, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_process_in_the_same_folder_is_refused(prepared, tmp_path):
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "state.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="another process is training here") as error:
            train(prepared, tmp_path)
        assert str(tmp_path) in str(error.value)
        assert not (tmp_path / "model.safetensors").exists()
        other.stdin.close()
    train(prepared, tmp_path, epochs=1)  # the lock went with the process


def test_without_locks_it_trains_and_says_so(prepared, tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(run_state.fcntl, "flock", flock)
    train(prepared, tmp_path, epochs=1)
    assert "locks are not known here" in caplog.text
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("between", [0.0, 60.0], ids=["state.pt", "model.safetensors"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    prepared, tmp_path, monkeypatch, uninterrupted, between, request
):
    name = request.node.callspec.id
    monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", between)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))
    try:
        with pytest.raises(InputError, match=f"{name}: cannot be written .*free space"):
            train(prepared, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert {path.name for path in tmp_path.iterdir()} <= {"state.lock"}
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


def test_the_folder_is_locked_while_training(prepared, tmp_path, monkeypatch):
    original = training._epoch

    def second_start(*arguments):
        with pytest.raises(InputError, match="another process"), training.only_writer(tmp_path):
            pass
        return original(*arguments)

    monkeypatch.setattr(training, "_epoch", second_start)
    train(prepared, tmp_path, epochs=1)
    with training.only_writer(tmp_path):
        pass


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(prepared, tmp_path, monkeypatch, value):
    original = training.training_loss
    monkeypatch.setattr(training, "training_loss", lambda *a: original(*a) * value)
    with pytest.raises(InputError, match="the loss of epoch 1 is not a number") as error:
        train(prepared, tmp_path)
    assert "lower the learning rate" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_last_update_that_is_no_number_leaves_no_model(prepared, tmp_path, monkeypatch, value):
    original = training.training_step

    def spoilt(run, *arguments):
        result = original(run, *arguments)
        with torch.no_grad():
            next(run.network.parameters()).view(-1)[0] = value
        return result

    monkeypatch.setattr(training, "training_step", spoilt)
    with pytest.raises(InputError, match="parameters are not numbers") as error:
        train(prepared, tmp_path, epochs=1, batch_size=3)
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert "lower the learning rate" in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["state.lock"]


def test_the_commit_is_left_out_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert training._commit() is None
