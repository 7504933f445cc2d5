"""Tests of the training loop: it learns, and what it learns, watches and says is as asked for."""

import logging
import math
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from renal import recipe, steps
from renal.errors import InputError
from renal.handover.prepared import read_index, write_index
from renal.learn import pretrained, schedules, training
from renal.learn.augmentations import augment
from renal.learn.datasets import Examples, read_cases
from renal.learn.launch import StopFlag
from renal.learn.losses import Truth, dice, training_loss, weight_of
from renal.learn.networks import build_network
from renal.learn.optimizers import build_optimizer
from renal.learn.results import write_results
from renal.learn.run import best_epoch
from renal.learn.run_state import Progress
from renal.learn.schedules import step
from renal.learn.targets import encode
from renal.recipe.schemes import KITS23
from renal.settings import as_json
from renal.sources import code_hash, training_components
from tests.unit.learn.helpers import (
    CPU,
    REMEMBERING,
    SLICES,
    VALIDATION,
    VOLUMES,
    read_history,
    read_run,
    run_of,
    train,
    train_with,
    trained,
    training_settings,
)

pytestmark = pytest.mark.usefixtures("one_cpu_thread")


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
    truth = Truth(encode(label, "kidney"), label, image, 0)
    losses = [training.training_step(run, truth)[0].item() for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    loss, gradient, outputs = training.training_step(run, truth)
    assert not loss.requires_grad
    squares = [parameter.grad.square().sum() for parameter in run.network.parameters()]
    assert gradient.item() == pytest.approx(sum(squares).sqrt().item(), rel=1e-5)
    assert [output.shape for output in outputs] == [image.shape, image.shape]


def test_the_drawing_is_told_the_dice_of_what_was_drawn(prepared, monkeypatch):
    settings = training_settings(**REMEMBERING)
    run, examples = run_of(prepared, settings)
    monkeypatch.setattr(run.drawing, "order", lambda _: [5, 0, 3])
    places = {5: 1.0, 0: 0.0, 3: 0.5}
    scores = iter(places.values())

    def perfect_or_not(_, truth):
        maps = [torch.full_like(truth.target[:1], 20.0 * (next(scores) > 0)) for _ in truth.image]
        return torch.zeros(()), torch.zeros(()), (torch.cat(maps) - 10,)

    monkeypatch.setattr(training, "training_step", perfect_or_not)
    monkeypatch.setattr(training, "encode", lambda label, *_: torch.ones_like(label))
    training._epoch(run, examples, StopFlag())
    assert run.drawing.state["dice"].tolist() == [0, 0, 0, 1, 0, 1]


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


SOFTMAX = {"name": "dice_cross_entropy", "squared": False, "activation": "softmax"}


@pytest.mark.parametrize(
    "changes",
    [
        {**VOLUMES, "target": ["kidney", "tumour"]},
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
    row = training._epoch(run, examples, StopFlag())
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

    def remember(_, truth):
        seen.append(truth.target)
        return torch.zeros(()), torch.zeros(()), (torch.zeros(len(truth.image), 1, 1, 1, 1) - 1,)

    monkeypatch.setattr(training, "augment", emptied)
    monkeypatch.setattr(training, "training_step", remember)
    row = training._epoch(run, examples, StopFlag())
    assert all(target.shape[1:] == (1, 1, 1, 1) and not target.any() for target in seen)
    assert row["dice"] == 1


def test_the_loss_is_the_mean_over_outputs_unless_supervision_says_otherwise():
    torch.manual_seed(0)
    outputs = tuple(torch.randn(3, 1, 1, 2, 2, 2))
    target = torch.ones(1, 1, 2, 2, 2)

    def truth(epoch):
        return Truth(target, target, target, epoch)

    single = [dice.loss(output, truth(0), squared=True).item() for output in outputs]
    plain = training_settings()
    assert training_loss(outputs, truth(7), plain).item() == pytest.approx(sum(single) / 3)
    assert training_loss(outputs[-1:], truth(7), plain).item() == pytest.approx(single[-1])
    decaying = training_settings(supervision={"weight": 0.33, "factor": 0.8, "epochs": 15})
    for epoch, weight in ((0, 0.33), (14, 0.33), (15, 0.264), (29, 0.264), (30, 0.2112)):
        assert weight_of(decaying.supervision, epoch) == pytest.approx(weight)
        expected = weight * (single[0] + single[1]) + single[2]
        assert training_loss(outputs, truth(epoch), decaying).item() == pytest.approx(expected)
    assert training_loss(outputs[-1:], truth(0), decaying).item() == pytest.approx(single[-1])


def test_supervision_decays_with_the_epochs_that_are_over(prepared, tmp_path, monkeypatch):
    epochs = []
    original = training.training_loss

    def remember(outputs, truth, settings):
        epochs.append(truth.epoch)
        return original(outputs, truth, settings)

    monkeypatch.setattr(training, "training_loss", remember)
    train(prepared, tmp_path, epochs=3, batch_size=3)
    assert epochs == [0, 1, 2]


# -- validation -----------------------------------------------------------------------------------


# Falls and rises again from epoch to epoch.
RESTLESS = {
    "optimizer": {"learning_rate": 0.03},
    "schedule": {"factor": 1.0},
    "network": {"dropout": 0.0},
    "validation": VALIDATION,
}


@pytest.fixture(scope="module")
def restless(prepared, tmp_path_factory) -> Path:
    return trained(prepared, tmp_path_factory.mktemp("restless"), epochs=7, **RESTLESS)


def test_a_split_is_watched_and_recorded(restless):
    run, history = read_run(restless), read_history(restless)
    assert sorted(run["cases"] + run["validation_cases"]) == ["case_0", "case_1", "case_2"]
    assert len(run["validation_cases"]) == 1
    assert list(history[0]) == [
        "epoch",
        "learning_rate",
        "loss",
        "dice",
        "foreground",
        "gradient_norm",
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
    network = build_network(settings.network, 1, "kidney")
    network.load_state_dict(load_file(restless / "model.safetensors"))
    cases = [case for case in read_cases([prepared]) if case.name in run["validation_cases"]]
    ((_, image, label),) = Examples(cases, settings, CPU).batches([0], 0)
    target = encode(label, "kidney")
    with torch.inference_mode():
        outputs = network.eval()(image)
        loss = training_loss(outputs, Truth(target, label, image, 0), settings).item()
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
    index = read_index(prepared)
    for name in learned:
        for path in prepared.glob(f"{name}.*"):
            (folder / path.name).write_bytes(path.read_bytes())
    write_index(folder, [index[name] for name in learned])
    train(folder, tmp_path / "alone")
    first, second = (tmp_path / name / "model.safetensors" for name in ("watched", "alone"))
    assert first.read_bytes() == second.read_bytes()


def test_losses_of_unequal_batches_weigh_by_their_examples(prepared, monkeypatch):
    changes = {"batch_size": 2, "augmentation": []}
    run, examples = run_of(prepared, training_settings(**changes))
    losses = iter([torch.tensor(1.0), torch.tensor(4.0)])
    monkeypatch.setattr(training, "training_loss", lambda *_: next(losses))
    row = training._validate(run, examples, StopFlag())
    assert row["validation_loss"] == pytest.approx((2 * 1 + 4) / 3)
    assert not run.network.training


def test_validation_draws_the_same_in_every_epoch(prepared, monkeypatch):
    run, examples = run_of(prepared, training_settings(**VOLUMES))
    seen = []
    monkeypatch.setattr(
        training, "encode", lambda label, *how: seen.append(label) or encode(label, *how)
    )
    for _ in range(2):
        torch.rand(1)
        training._validate(run, examples, StopFlag())
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
    assert best_epoch(rows(*losses)) == best


@pytest.mark.parametrize(("epochs", "over"), [(29, False), (30, True), (31, True)])
def test_nothing_stops_before_the_first_epochs_are_over(epochs, over):
    """As mrbnet's paper has it: its plateaus have brought the rate below 1e-6 by epoch 16."""
    settings = recipe.load_method("mrbnet", {}).stages["segment"].training
    assert schedules.learning_rate(settings, rows(*[0.5] * 16)) < 1e-6
    assert training.is_over(settings, rows(*[0.5] * epochs)) == over
    # A new best in the last epoch is progress.
    assert not training.is_over(settings, rows(*[0.5] * (epochs - 1), 0.4))


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


def test_training_begins_with_pretrained_weights(prepared, tmp_path):
    given = []

    def pretrain(network):
        assert not any(parameter.is_cuda for parameter in network.parameters())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(0.01)
        given.append(network)

    still = training_settings(epochs=1, optimizer={"learning_rate": 1e-30})
    for name, how in (("pretrained", pretrain), ("fresh", None)):
        train_with(still, prepared, tmp_path / name, pretrain=how)
    assert len(given) == 1
    for name, expected in (("pretrained", True), ("fresh", False)):
        weights = load_file(tmp_path / name / "model.safetensors").values()
        assert all((weight == torch.tensor(0.01)).all() for weight in weights) == expected


def arguments_of(settings, folder: Path, weights: Path | None) -> Namespace:
    """What the command line gives the step that trains."""
    paths = {"prepared": [folder], "output": folder, "weights": weights}
    numbers = {"seed": 5, "threads": 1, "minutes": 1}
    return Namespace(
        settings=as_json(settings),
        name="tiny",
        bfloat16_on_cpu=False,
        labels=KITS23,
        **paths,
        **numbers,
    )


@pytest.mark.parametrize(("method", "stage"), [("damnet", "fine"), ("resvnet", "whole")])
def test_the_step_hands_over_weights_results_and_code(tmp_path, monkeypatch, method, stage):
    done, loaded = [], []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(training, "train", lambda *given, **keywords: done.append(keywords))
    monkeypatch.setattr(
        pretrained, "load_pretrained", lambda *given, **keywords: loaded.append((given, keywords))
    )
    settings = recipe.load_method(method, {}).stages[stage].training
    weights = tmp_path / "weights.pth" if settings.network.weights else None
    steps.train(arguments_of(settings, tmp_path, weights))()
    (keywords,) = done
    assert keywords["write"] is write_results and keywords["labels"] is KITS23
    assert keywords["code"] == code_hash("learn.training", *training_components(settings))
    if weights is None:
        assert keywords["pretrain"] is None
        return
    network = torch.nn.Identity()
    keywords["pretrain"](network)
    assert loaded == [((network,), {"path": weights, "settings": settings.network.weights})]


@pytest.mark.parametrize(
    ("method", "stage", "weights", "told"),
    [
        ("damnet", "fine", None, "dam_net begins with .*resnet34.*: give that file"),
        ("resvnet", "whole", Path("weights.pth"), "res_vnet_cascade begins fresh: leave it out"),
    ],
)
def test_weights_are_given_where_the_network_begins_with_some(
    tmp_path, method, stage, weights, told
):
    """Trained from another beginning, a model would be another one without a word."""
    settings = recipe.load_method(method, {}).stages[stage].training
    with pytest.raises(InputError, match=f"--weights: {told}"):
        steps.train(arguments_of(settings, tmp_path, weights))


# -- what is logged -------------------------------------------------------------------------------


def test_the_last_epoch_is_always_logged(prepared, tmp_path, caplog):
    caplog.set_level(logging.INFO, "renal")
    train(prepared, tmp_path, epochs=2)
    assert "tiny: epoch 2/2, loss 0." in caplog.text
    assert "training Dice" in caplog.text


def test_line_of_progress_by_hand():
    progress = Progress(epoch=2, seconds=20)
    row = {"loss": 0.51234, "dice": 0.25}
    line = training._progress_line(row, progress, 10)
    assert line == "epoch 2/10, loss 0.512, training Dice 0.250, at most 80 s left"
    assert training._progress_line(row, progress, 100).endswith(", at most 16 min left")
    row |= {"validation_loss": 0.4, "validation_dice": 0.75}
    line = training._progress_line(row, progress, 10)
    assert "training Dice 0.250, validation Dice 0.750, at most 80 s left" in line


def test_history_tells_what_was_predicted_and_how_steep_the_loss_is(prepared, monkeypatch):
    """The gradient's norm by its median over the steps, of which a wild one says little."""
    run, examples = run_of(prepared, training_settings(batch_size=1, augmentation=[]))
    norms, shares = iter([1.0, 500.0, 3.0]), iter([0, 8, 16])

    def step(_, truth):
        logits = torch.full_like(truth.target, -9.0)
        logits[:, :, : next(shares)] = 9
        return torch.tensor(0.5), torch.tensor(next(norms)), (logits,)

    monkeypatch.setattr(training, "training_step", step)
    row = training._epoch(run, examples, StopFlag())
    assert (row["gradient_norm"], row["foreground"]) == (3, 0.5)
    assert run.steps["gradient"] == [1, 500, 3] and run.steps["foreground"] == [0, 0.5, 1]
    assert run.steps["spread"] == [0, pytest.approx(1, abs=1e-3), 0]
    assert row["dice"] == pytest.approx(sum(run.steps["dice"]) / 3)
