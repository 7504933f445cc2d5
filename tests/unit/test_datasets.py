"""Tests of training examples: regions stacked in order, targets, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from renal import prepare, recipe
from renal.datasets import TrainingSet
from renal.errors import InputError
from renal.files import write_array

CPU = torch.device("cpu")
SIZE = (2, 3, 4)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def training(target: str = "whole", shuffle_regions: bool = False) -> recipe.Training:
    return recipe.Training.model_validate(
        {
            "target": target,
            "sampler": {"name": "volume", "shuffle_regions": shuffle_regions},
            "network": {"name": "res_vnet_cascade", "width": 2, "dropout": 0},
            "loss": {"name": "dice", "squared": True},
            "optimizer": {"name": "adam", "learning_rate": 1e-3},
            "schedule": {"name": "step", "factor": 1, "epochs": 1},
            "epochs": 1,
            "batch_size": 1,
        }
    )


def write_prepared(folder: Path, regions: dict[str, int], *, labelled: bool = True) -> Path:
    """Prepared cases with a number of regions each; a region's image holds its own number."""
    random = np.random.default_rng(7)
    cases = []
    for name, count in regions.items():
        for number in range(count):
            image = np.full(SIZE, number + 1, np.float16)
            write_array(folder / f"{name}.{number}.image.npy", image)
            if labelled:
                label = random.integers(0, 3, SIZE).astype(np.uint8)
                write_array(folder / f"{name}.{number}.label.npy", label)
        cases.append(prepare.PreparedCase(name, (9, 9, 9), [((0, 9),) * 3] * count))
    prepare.write_index(folder, cases)
    return folder


def labels_of(folder: Path, name: str, count: int) -> list[np.ndarray]:
    return [np.load(folder / f"{name}.{number}.label.npy") for number in range(count)]


def test_cases_of_all_folders_in_order(tmp_path):
    folders = [
        write_prepared(tmp_path / "one", {"case_2": 1, "case_0": 1}),
        write_prepared(tmp_path / "two", {"case_1": 1}),
    ]
    examples = TrainingSet(folders, training(), CPU)
    assert examples.names == ["case_2", "case_0", "case_1"]
    assert len(examples) == 3


def test_batch_has_the_shape_and_type_that_networks_take(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1, "case_1": 1, "case_2": 1})
    images, targets = TrainingSet([folder], training(), CPU).batch([2, 0])
    assert images.shape == targets.shape == (2, 1, *SIZE)
    assert images.dtype == targets.dtype == torch.float32
    first, second = labels_of(folder, "case_2", 1)[0], labels_of(folder, "case_0", 1)[0]
    assert np.array_equal(targets[:, 0].numpy(), np.stack([first > 0, second > 0]))


def test_two_regions_are_stacked_along_depth(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 2})
    images, targets = TrainingSet([folder], training(), CPU).batch([0])
    depth, height, width = SIZE
    assert images.shape == targets.shape == (1, 1, 2 * depth, height, width)
    assert (images[0, 0, :depth] == 1).all()
    assert (images[0, 0, depth:] == 2).all()
    expected = np.concatenate(labels_of(folder, "case_0", 2)) > 0
    assert np.array_equal(targets[0, 0].numpy(), expected)


@pytest.mark.parametrize(("target", "threshold"), [("whole", 1), ("tumour", 2)])
def test_target_is_the_whole_or_the_tumour(tmp_path, target, threshold):
    folder = write_prepared(tmp_path, {"case_0": 1})
    _, targets = TrainingSet([folder], training(target), CPU).batch([0])
    (label,) = labels_of(folder, "case_0", 1)
    assert set(targets.unique().tolist()) == {0.0, 1.0}
    assert np.array_equal(targets[0, 0].numpy(), label >= threshold)


def first_regions(examples: TrainingSet, draws: int = 40) -> set[float]:
    """Numbers of the regions that came first; image and target are checked to agree."""
    found = set()
    for _ in range(draws):
        images, targets = examples.batch([0])
        first = images[0, 0, 0, 0, 0].item()
        numbers = [int(first) - 1, 2 - int(first)]
        labels = [examples._labels[0][number] > 0 for number in numbers]
        assert np.array_equal(targets[0, 0].numpy(), np.concatenate(labels))
        found.add(first)
    return found


def test_order_of_regions_is_random_only_where_the_recipe_says_so(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 2})
    assert first_regions(TrainingSet([folder], training(), CPU)) == {1.0}
    shuffled = TrainingSet([folder], training(shuffle_regions=True), CPU)
    assert first_regions(shuffled) == {1.0, 2.0}


def test_random_order_follows_the_seed(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 2})
    examples = TrainingSet([folder], training(shuffle_regions=True), CPU)
    orders = []
    for _ in range(2):
        torch.manual_seed(11)
        orders.append([examples.batch([0])[0][0, 0, 0, 0, 0].item() for _ in range(20)])
    assert orders[0] == orders[1]


def test_cases_without_a_region_are_left_out(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1, "case_1": 0, "case_2": 1})
    assert TrainingSet([folder], training(), CPU).names == ["case_0", "case_2"]


@pytest.mark.parametrize("regions", [{}, {"case_0": 0}])
def test_no_case_at_all(tmp_path, regions):
    folder = write_prepared(tmp_path / "batch", regions)
    with pytest.raises(InputError, match="no case to train on") as error:
        TrainingSet([folder], training(), CPU)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_label(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1}, labelled=False)
    with pytest.raises(InputError, match=r"case_0\.0\.label\.npy: missing"):
        TrainingSet([folder], training(), CPU)


def test_missing_image(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    (folder / "case_0.0.image.npy").unlink()
    with pytest.raises(InputError, match=r"case_0\.0\.image\.npy: missing or damaged"):
        TrainingSet([folder], training(), CPU)


def test_missing_index(tmp_path):
    with pytest.raises(InputError, match=r"cases\.json"):
        TrainingSet([tmp_path], training(), CPU)


def test_stored_arrays_are_not_changed_by_what_is_done_to_a_batch(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    examples = TrainingSet([folder], training(), CPU)
    images, targets = examples.batch([0])
    images.zero_()
    targets.zero_()
    assert (examples.batch([0])[0] == 1).all()
    assert examples.batch([0])[1].any()


def test_arrays_stay_in_their_files_on_the_cpu(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    examples = TrainingSet([folder], training(), CPU)
    assert all(isinstance(a, np.memmap) for case in examples._images for a in case)
