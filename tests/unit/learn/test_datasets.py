"""Tests of training examples: cases, the split, and batches that are read ahead."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from renal.errors import InputError
from renal.files import write_array
from renal.handover.prepared import PreparedCase, write_index
from renal.learn.datasets import Case, Examples, read_cases, split
from renal.learn.settings import Training, Validation

CPU = torch.device("cpu")
SIZE = (2, 3, 4)
VOLUME = {"name": "volume", "shuffle_regions": False}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def training(sampler: dict | None = None, batch_size: int = 1) -> Training:
    flat = sampler is not None and sampler["name"] == "slices"
    return Training.model_validate(
        {
            "target": "kidney",
            "sampler": sampler or VOLUME,
            "network": {
                "name": "unet",
                "dimensions": 2 if flat else 3,
                "depth": 2,
                "width": 2,
                "normalization": "batch",
            },
            "loss": {"name": "dice", "squared": True},
            "optimizer": {"name": "adam", "learning_rate": 1e-3},
            "schedule": {"name": "constant"},
            "epochs": 1,
            "batch_size": batch_size,
        }
    )


def examples_of(folder: Path, sampler: dict | None = None, batch_size: int = 1) -> Examples:
    return Examples(read_cases([folder]), training(sampler, batch_size), CPU)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
        cases.append(PreparedCase(name, (9, 9, 9), [((0, 9),) * 3] * count))
    write_index(folder, cases)
    return folder


def labels_of(folder: Path, name: str, count: int) -> list[np.ndarray]:
    return [np.load(folder / f"{name}.{number}.label.npy") for number in range(count)]


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


# -- cases ----------------------------------------------------------------------------------------


def test_cases_of_all_folders_in_order(tmp_path):
    folders = [
        write_prepared(tmp_path / "one", {"case_2": 1, "case_0": 1}),
        write_prepared(tmp_path / "two", {"case_1": 1}),
    ]
    assert names(read_cases(folders)) == ["case_2", "case_0", "case_1"]


def test_cases_without_a_region_are_left_out(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1, "case_1": 0, "case_2": 1})
    assert names(read_cases([folder])) == ["case_0", "case_2"]


@pytest.mark.parametrize("regions", [{}, {"case_0": 0}])
def test_no_case_at_all(tmp_path, regions):
    folder = write_prepared(tmp_path / "batch", regions)
    with pytest.raises(InputError, match="no case with a region to train on") as error:
        read_cases([folder])
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_more_cases_than_a_process_may_open_files(tmp_path):
    folder = write_prepared(tmp_path, {f"case_{number}": 2 for number in range(60)})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        examples = examples_of(folder)
        images, _ = examples.batch(list(range(60)), generator())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(images) == 60


def test_missing_label(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1}, labelled=False)
    with pytest.raises(InputError, match=r"case_0\.0\.label\.npy: missing"):
        read_cases([folder])


def test_missing_image(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    (folder / "case_0.0.image.npy").unlink()
    with pytest.raises(InputError, match=r"case_0\.0\.image\.npy: missing or damaged"):
        read_cases([folder])


def test_missing_index(tmp_path):
    with pytest.raises(InputError, match=r"cases\.json"):
        read_cases([tmp_path])


def test_arrays_stay_in_their_files_on_the_cpu(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 2})
    (case,) = read_cases([folder])
    assert all(isinstance(array, np.memmap) for array in (*case.images, *case.labels))


def test_the_slack_of_regions_comes_along(tmp_path):
    slack = [((1, 0), (0, 0), (0, 1))]
    folder = write_prepared(tmp_path, {"case_0": 1})
    write_index(folder, [PreparedCase("case_0", SIZE, [((0, 9),) * 3], slack)])
    assert read_cases([folder])[0].slack == slack


# -- the split ------------------------------------------------------------------------------------


def numbered(count: int) -> list[Case]:
    return [Case(f"case_{number:03d}", [], [], []) for number in range(count)]


def validation(share: float) -> Validation:
    return Validation(share=share, keep="best")


def test_without_validation_all_cases_are_learned_from():
    cases = numbered(3)
    assert split(cases, None, 0) == (cases, [])


@given(
    count=st.integers(2, 40),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
    random=st.randoms(use_true_random=False),
)
def test_the_split_is_disjoint_never_empty_and_blind_to_the_order(count, share, seed, random):
    cases = numbered(count)
    learned, watched = split(cases, validation(share), seed)
    assert learned and watched
    assert sorted(names(learned) + names(watched)) == names(cases)
    assert abs(len(watched) - share * count) <= 1
    shuffled = random.sample(cases, count)
    again = split(shuffled, validation(share), seed)
    assert [sorted(names(part)) for part in again] == [names(learned), names(watched)]
    assert names(again[0]) == [case.name for case in shuffled if case in learned]


def test_the_split_follows_the_seed():
    splits = {tuple(names(split(numbered(30), validation(0.125), seed)[1])) for seed in range(10)}
    assert len(splits) == 10
    assert {len(watched) for watched in splits} == {4}  # an eighth of 30, rounded


def test_one_case_cannot_be_split():
    with pytest.raises(InputError, match="one case cannot be split for validation: add cases"):
        split(numbered(1), validation(0.5), 0)


# -- batches --------------------------------------------------------------------------------------


def test_batch_has_the_shape_and_type_that_networks_take(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1, "case_1": 1, "case_2": 1})
    images, labels = examples_of(folder).batch([2, 0], generator())
    assert images.shape == labels.shape == (2, 1, *SIZE)
    assert images.dtype == labels.dtype == torch.float32
    first, second = labels_of(folder, "case_2", 1)[0], labels_of(folder, "case_0", 1)[0]
    assert np.array_equal(labels[:, 0].numpy(), np.stack([first, second]))


def test_two_regions_are_stacked_along_depth(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 2})
    images, labels = examples_of(folder).batch([0], generator())
    depth, height, width = SIZE
    assert images.shape == labels.shape == (1, 1, 2 * depth, height, width)
    assert (images[0, 0, :depth] == 1).all()
    assert (images[0, 0, depth:] == 2).all()
    expected = np.concatenate(labels_of(folder, "case_0", 2))
    assert np.array_equal(labels[0, 0].numpy(), expected)


def test_labels_of_slices_have_one_slice(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1, "case_1": 1})
    examples = examples_of(folder, {"name": "slices", "context": 3})
    assert examples.entries == [(0, (0, 0)), (0, (0, 1)), (1, (0, 0)), (1, (0, 1))]
    images, labels = examples.batch([0, 3], generator())
    assert images.shape == (2, 1, 3, 3, 4)
    assert labels.shape == (2, 1, 1, 3, 4)
    assert np.array_equal(labels[1, 0, 0], labels_of(folder, "case_1", 1)[0][1])


def test_stored_arrays_are_not_changed_by_what_is_done_to_a_batch(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    for sampler in (
        VOLUME,
        {"name": "patches", "size": SIZE, "stride": SIZE},
        {"name": "slices", "context": 1},
        {"name": "windows", "length": 2},
    ):
        examples = examples_of(folder, sampler)
        images, labels = examples.batch([0], generator())
        images.zero_()
        labels.zero_()
        assert (examples.batch([0], generator())[0] == 1).all()
        assert examples.batch([0], generator())[1].any()


def test_whether_an_example_holds_anything(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    label = np.zeros(SIZE, np.uint8)
    label[1, 0, 0] = 2
    write_array(folder / "case_0.0.label.npy", label)
    examples = examples_of(folder, {"name": "slices", "context": 1})
    assert [examples.has_foreground(index) for index in range(2)] == [False, True]


SHUFFLED = {"name": "volume", "shuffle_regions": True}


def read_batches(examples: Examples, order: list[int], seed: int) -> list[tuple]:
    """What a training sees, which draws from torch's own generator between two batches."""
    found = []
    for indices, images, labels in examples.batches(order, seed):
        torch.rand(3)
        found.append((indices, images.clone(), labels.clone()))
    return found


def test_batches_follow_the_order_and_the_last_may_be_smaller(tmp_path):
    folder = write_prepared(tmp_path, {f"case_{number}": 1 for number in range(5)})
    examples = examples_of(folder, batch_size=2)
    order = [3, 1, 4, 0, 2]
    batches = read_batches(examples, order, 0)
    assert [indices for indices, *_ in batches] == [[3, 1], [4, 0], [2]]
    for indices, images, labels in batches:
        assert len(images) == len(labels) == len(indices)
        expected = [labels_of(folder, f"case_{index}", 1)[0] for index in indices]
        assert np.array_equal(labels[:, 0].numpy(), np.stack(expected))


def test_reading_ahead_draws_as_reading_in_turn_does(tmp_path):
    folder = write_prepared(tmp_path, {f"case_{number}": 2 for number in range(7)})
    examples = examples_of(folder, SHUFFLED, batch_size=3)
    order, random = [2, 6, 1, 0, 3, 5, 4], generator(11)
    in_turn = [examples.batch(order[start : start + 3], random) for start in (0, 3, 6)]
    before = torch.get_rng_state()
    ahead = list(examples.batches(order, 11))
    assert torch.equal(torch.get_rng_state(), before)
    for (_, *found), expected in zip(ahead, in_turn, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_random_batches_follow_the_seed(tmp_path):
    folder = write_prepared(tmp_path, {f"case_{number}": 2 for number in range(20)})
    examples = examples_of(folder, SHUFFLED)

    def first_regions(seed: int) -> list[float]:
        batches = read_batches(examples, list(range(20)), seed)
        return [images[0, 0, 0, 0, 0].item() for _, images, _ in batches]

    assert first_regions(1) == first_regions(1) != first_regions(2)
    assert set(first_regions(1)) == {1.0, 2.0}


def test_no_example_gives_no_batch(tmp_path):
    folder = write_prepared(tmp_path, {"case_0": 1})
    assert read_batches(examples_of(folder), [], 0) == []


def test_a_fault_while_reading_ahead_is_not_lost(tmp_path, monkeypatch):
    folder = write_prepared(tmp_path, {"case_0": 1, "case_1": 1})
    examples = examples_of(folder)
    original = examples.batch

    def faulty(indices, random):
        if indices == [1]:
            raise OSError("disk")
        return original(indices, random)

    monkeypatch.setattr(examples, "batch", faulty)
    batches = examples.batches([0, 1], 0)
    assert next(batches)[0] == [0]
    with pytest.raises(OSError, match="disk"):
        next(batches)
