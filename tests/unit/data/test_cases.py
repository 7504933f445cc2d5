"""Cases: found by name, dealt evenly, and never moved once they were dealt."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.data.cases import (
    IMAGE,
    LABEL,
    Case,
    assign,
    find_cases,
    listed_spacings,
    read_assignments,
    write_assignments,
)
from renal.errors import InputError

SETTINGS = {"folds": 5, "seed": 7, "batch_size": 4}


def numbered(labelled, unlabelled=0):
    count = labelled + unlabelled
    return {f"case_{number:05d}": number < labelled for number in range(count)}


def make_case(root, name, labelled=True):
    (root / name).mkdir(parents=True)
    (root / name / IMAGE).touch()
    if labelled:
        (root / name / LABEL).touch()


def check_rules(assigned, folds, batch_size):
    """What holds for every assignment."""
    assert len({case.name for case in assigned}) == len(assigned)
    fold_of_batch = {}
    for case in assigned:
        assert fold_of_batch.setdefault(case.batch, case.fold) == case.fold
        prefix = "unlabelled" if case.fold is None else f"fold{case.fold}"
        assert case.batch.startswith(f"{prefix}-")
        assert case.fold is None or 0 <= case.fold < folds
    sizes = Counter(case.batch for case in assigned)
    assert not sizes or max(sizes.values()) <= batch_size


def fold_sizes(assigned, folds):
    counts = Counter(case.fold for case in assigned if case.fold is not None)
    return [counts[fold] for fold in range(folds)]


# -- finding ------------------------------------------------------------------------------------


def test_cases_are_found_with_whether_they_are_labelled(tmp_path):
    make_case(tmp_path, "case_00002", labelled=False)
    make_case(tmp_path, "case_00001")
    make_case(tmp_path, "case_b7")
    (tmp_path / "case_00003").mkdir()  # validation tells that it has no image
    (tmp_path / "case_00004").touch()
    (tmp_path / "kits.json").touch()
    found = find_cases(tmp_path)
    assert found == {"case_00001": True, "case_00002": False, "case_00003": False, "case_b7": True}
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    "name",
    [
        "case_$(touch x)",
        "case_0;x",
        "case_0 1",
        "case_",
        "case_0\n",
        "case_0.1",
        "Case_0",
        "xcase_0",
    ],
)
def test_names_that_a_shell_or_a_path_would_act_on_are_no_cases(tmp_path, name):
    make_case(tmp_path, "case_00000")
    make_case(tmp_path, name)
    make_case(tmp_path, "case_../outside")
    assert list(find_cases(tmp_path)) == ["case_00000"]


def test_excluded_cases_are_left_out(tmp_path):
    for number in range(3):
        make_case(tmp_path, f"case_0000{number}")
    assert list(find_cases(tmp_path, ["case_00001"])) == ["case_00000", "case_00002"]
    with pytest.raises(InputError, match=r"data\.exclude names case_00007, case_x"):
        find_cases(tmp_path, ["case_x", "case_00001", "case_00007"])


def test_a_missing_folder_tells_where_the_data_go_and_that_there_is_a_demo(tmp_path):
    with pytest.raises(InputError) as told:
        find_cases(tmp_path / "kits19")
    message = str(told.value)
    assert f"{tmp_path}/kits19/case_00000/imaging.nii.gz" in message
    assert "make demo" in message and "data.root" in message and "\n" not in message


def test_a_folder_without_cases(tmp_path):
    with pytest.raises(InputError, match="no cases"):
        find_cases(tmp_path)


# -- dealing ------------------------------------------------------------------------------------


def test_folds_are_balanced_and_batches_keep_to_one_fold():
    assigned = assign(numbered(210, 90), **SETTINGS)
    check_rules(assigned, 5, 4)
    assert fold_sizes(assigned, 5) == [42] * 5
    assert sum(case.fold is None for case in assigned) == 90
    assert [case.name for case in assigned] == sorted(numbered(210, 90))


def test_the_deal_depends_on_the_seed_alone():
    cases = numbered(20)
    turned = dict(reversed(cases.items()))
    assert assign(cases, **SETTINGS) == assign(turned, **SETTINGS)
    assert assign(cases, **SETTINGS) != assign(cases, **{**SETTINGS, "seed": 8})
    in_order = [case.fold for case in assign(cases, **SETTINGS)]
    assert in_order != [number % 5 for number in range(20)]  # shuffled, not in turn


def test_adding_cases_moves_none():
    before = assign(numbered(12, 3), **SETTINGS)
    cases = {**numbered(12, 3), "case_00000b": True, "case_a": True, "case_b": False}
    after = assign(cases, known=before, **SETTINGS)
    assert set(before) <= set(after)
    assert fold_sizes(after, 5) == [3, 3, 3, 3, 2]
    check_rules(after, 5, 4)


def test_a_batch_size_of_one():
    assigned = assign(numbered(7, 2), **{**SETTINGS, "batch_size": 1})
    check_rules(assigned, 5, 1)
    assert len({case.batch for case in assigned}) == 9


def test_an_unlabelled_case_that_gets_a_label_is_dealt_and_moves_no_other():
    before = {case.name: case for case in assign(numbered(9, 3), **SETTINGS)}
    cases = {**numbered(9, 3), "case_00009": True}
    after = {case.name: case for case in assign(cases, known=before.values(), **SETTINGS)}
    assert before.pop("case_00009").fold is None
    assert after.pop("case_00009").fold == 4  # the fold that had one case less
    assert after == before


def test_fewer_labelled_cases_than_folds():
    with pytest.raises(InputError, match=r"folds\.count is 5, but only 4 labelled"):
        assign(numbered(4, 9), **SETTINGS)


def test_a_fold_that_exclusion_left_empty_is_told():
    before = assign(numbered(6), **SETTINGS)
    alone = next(case for case in before if fold_sizes(before, 5)[case.fold] == 1)
    cases = {name: True for name in numbered(6) if name != alone.name}
    with pytest.raises(InputError, match=rf"fold {alone.fold} .*delete .*folds\.csv") as told:
        assign(cases, known=before, **SETTINGS)
    assert "\n" not in str(told.value)
    assert fold_sizes(assign(cases, **SETTINGS), 5) == [1] * 5


names = st.from_regex(r"case_[A-Za-z0-9]{1,3}", fullmatch=True)
case_sets = st.dictionaries(names, st.booleans(), max_size=40)


@settings(max_examples=60, deadline=None)
@given(case_sets, case_sets, st.integers(1, 6), st.integers(0, 99), st.integers(1, 7))
def test_any_cases_are_dealt_by_the_rules(first, added, folds, seed, batch_size):
    deal = {"folds": folds, "seed": seed, "batch_size": batch_size}
    if sum(first.values()) < folds:
        with pytest.raises(InputError):
            assign(first, **deal)
        return
    before = assign(first, **deal)
    assert {case.name: case.fold is not None for case in before} == first
    check_rules(before, folds, batch_size)
    assert max(fold_sizes(before, folds)) - min(fold_sizes(before, folds)) <= 1
    after = assign({**added, **first}, known=before, **deal)
    assert set(before) <= set(after)
    check_rules(after, folds, batch_size)
    assert max(fold_sizes(after, folds)) - min(fold_sizes(after, folds)) <= 1


# -- storing ------------------------------------------------------------------------------------


def test_a_stored_assignment_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "results" / "folds.csv"
    assert read_assignments(path, **SETTINGS) == []
    assigned = assign(numbered(9, 2), **SETTINGS)
    write_assignments(path, assigned, **SETTINGS)
    assert read_assignments(path, **SETTINGS) == assigned
    before = path.stat().st_mtime_ns, path.read_text()
    write_assignments(path, random.Random(0).sample(assigned, 11), **SETTINGS)
    assert (path.stat().st_mtime_ns, path.read_text()) == before


@pytest.mark.parametrize("changed", ["folds", "seed"])
def test_other_folds_than_the_stored_ones_are_not_dealt_unasked(tmp_path, changed):
    path = tmp_path / "folds.csv"
    write_assignments(path, assign(numbered(9), **SETTINGS), **SETTINGS)
    before = path.read_text()
    other = {**SETTINGS, changed: SETTINGS[changed] + 1}
    for use in (read_assignments, lambda path, **other: write_assignments(path, [], **other)):
        with pytest.raises(InputError, match="delete the file") as told:
            use(path, **other)
        message = str(told.value)
        assert message.startswith(f"{path}: was dealt with folds=5 seed=7")
        assert f"folds={other['folds']} seed={other['seed']}" in message and "\n" not in message
    assert path.read_text() == before


@settings(max_examples=40, deadline=None)
@given(case_sets, st.integers(2, 4), st.integers(1, 7), st.integers(1, 7))
def test_another_batch_size_moves_no_case_to_another_fold(
    tmp_path_factory, cases, folds, before, after
):
    cases |= numbered(folds)
    path = tmp_path_factory.mktemp("deal") / "folds.csv"
    deal = {"folds": folds, "seed": 7}
    dealt = assign(cases, **deal, batch_size=before)
    write_assignments(path, dealt, **deal, batch_size=before)
    known = read_assignments(path, **deal, batch_size=after)
    assert [(case.name, case.fold) for case in known] == [(case.name, case.fold) for case in dealt]
    check_rules(known, folds, after)
    # Batches are as few as they can be: all of a fold but its last are full.
    sizes = Counter((case.fold, case.batch) for case in known)
    for fold in {case.fold for case in known}:
        of_fold = [size for (number, _), size in sizes.items() if number == fold]
        assert sorted(of_fold)[1:] == [after] * (len(of_fold) - 1)
    # Stored, they are read as they are, and a new case finds its place among them.
    assigned = assign({**cases, "case_new0": True}, known=known, **deal, batch_size=after)
    assert set(known) <= set(assigned)
    check_rules(assigned, folds, after)
    write_assignments(path, assigned, **deal, batch_size=after)
    assert read_assignments(path, **deal, batch_size=after) == assigned


def test_the_same_batch_size_keeps_batches_as_they_are(tmp_path):
    # As cases that came later leave them: not those that a new deal would make.
    path = tmp_path / "folds.csv"
    stored = [Case("case_1", 0, "fold0-001"), Case("case_2", 0, "fold0-000")]
    write_assignments(path, stored, **SETTINGS)
    assert read_assignments(path, **SETTINGS) == stored


def test_a_case_excluded_for_one_run_comes_back_to_its_place(tmp_path):
    path = tmp_path / "folds.csv"
    before = assign(numbered(12), **SETTINGS)
    write_assignments(path, before, **SETTINGS)
    cases = {**numbered(12), "case_new": True}
    del cases["case_00003"]
    known = read_assignments(path, **SETTINGS)
    write_assignments(path, assign(cases, known=known, **SETTINGS), **SETTINGS)
    stored = read_assignments(path, **SETTINGS)
    assert len(stored) == 13 and set(before) <= set(stored)
    check_rules(stored, 5, 4)


@pytest.mark.parametrize(
    "row",
    [
        "case_00000,first,fold0-000",
        "case_00000,5,fold5-000",
        "case_00000,-1,fold0-000",
        "case_00000,0",
        "case_00000",
        "case_00000,0,fold1-000",
        "case_00000,0,fold0-x; rm",
        "case_00000,,fold0-000",
        "\xff",
    ],
)
def test_a_damaged_file_is_told(tmp_path, row):
    path = tmp_path / "folds.csv"
    write_assignments(path, [Case("case_00001", 1, "fold1-000")], **SETTINGS)
    path.write_bytes(path.read_bytes() + f"{row}\n".encode("latin-1"))
    for batch_size in (4, 3):
        with pytest.raises(InputError, match=r"folds\.csv: damaged") as told:
            read_assignments(path, **{**SETTINGS, "batch_size": batch_size})
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("line", ["", "# seed=7 batch_size=4", "# folds=5 seed=x batch_size=4"])
def test_a_damaged_first_line_is_told(tmp_path, line):
    path = tmp_path / "folds.csv"
    write_assignments(path, [Case("case_00001", 1, "fold1-000")], **SETTINGS)
    rows = path.read_text().partition("\n")[2]
    path.write_text(f"{line}\n{rows}")
    with pytest.raises(InputError, match=r"folds\.csv: damaged") as told:
        read_assignments(path, **SETTINGS)
    assert "\n" not in str(told.value)


def test_a_first_line_without_batch_size_is_told(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("# folds=5 seed=7\ncase,fold,batch\ncase_00001,1,fold1-000\n")
    with pytest.raises(InputError, match=r"folds\.csv: damaged"):
        read_assignments(path, **SETTINGS)


def test_a_negative_seed_is_read_as_it_was_written(tmp_path):
    deal = {**SETTINGS, "seed": -7}
    assigned = assign(numbered(9), **deal)
    write_assignments(tmp_path / "folds.csv", assigned, **deal)
    assert read_assignments(tmp_path / "folds.csv", **deal) == assigned


# -- kits.json ----------------------------------------------------------------------------------


def test_spacings_are_listed_by_case(tmp_path):
    assert listed_spacings(tmp_path) == {}
    spacing = {"z_spacing": 3, "y_spacing": 0.8, "x_spacing": 0.7}
    entries = [{"case_id": "case_00001", "voxel_spacing": spacing}, {"case_id": "case_00002"}]
    (tmp_path / "kits.json").write_text(json.dumps([*entries, 5, {"voxel_spacing": spacing}]))
    assert listed_spacings(tmp_path) == {"case_00001": spacing, "case_00002": None}
    (tmp_path / "kits.json").write_text("{}")
    with pytest.raises(InputError, match=r"kits\.json: a list of cases is expected"):
        listed_spacings(tmp_path)
