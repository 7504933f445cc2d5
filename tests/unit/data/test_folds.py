"""Folds: dealt evenly, and never moved once they were dealt."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.data.cases import IMAGE, LABEL, Case
from renal.data.folds import Place, assign, read_assignments, write_assignments
from renal.errors import InputError

DEALT = {"folds": 5, "seed": 7}
SETTINGS = {**DEALT, "batch_size": 4}


def numbered(labelled, unlabelled=0):
    """Name of a case to whether it is labelled."""
    count = labelled + unlabelled
    return {f"case_{number:05d}": number < labelled for number in range(count)}


def deal(cases, **settings):
    """Assign cases that are told by name and by whether they are labelled."""
    found = [
        Case(name, Path(name) / IMAGE, Path(name) / LABEL if labelled else None)
        for name, labelled in cases.items()
    ]
    return assign(found, **settings)


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


# -- dealing ------------------------------------------------------------------------------------


def test_folds_are_balanced_and_batches_keep_to_one_fold():
    assigned = deal(numbered(210, 90), **SETTINGS)
    check_rules(assigned, 5, 4)
    assert fold_sizes(assigned, 5) == [42] * 5
    assert sum(case.fold is None for case in assigned) == 90
    assert [case.name for case in assigned] == sorted(numbered(210, 90))


def test_the_deal_depends_on_the_seed_alone():
    cases = numbered(20)
    turned = dict(reversed(cases.items()))
    assert deal(cases, **SETTINGS) == deal(turned, **SETTINGS)
    assert deal(cases, **SETTINGS) != deal(cases, **{**SETTINGS, "seed": 8})
    in_order = [case.fold for case in deal(cases, **SETTINGS)]
    assert in_order != [number % 5 for number in range(20)]  # shuffled, not in turn


def test_adding_cases_moves_none():
    before = deal(numbered(12, 3), **SETTINGS)
    cases = {**numbered(12, 3), "case_00000b": True, "case_a": True, "case_b": False}
    after = deal(cases, known=before, **SETTINGS)
    assert set(before) <= set(after)
    assert fold_sizes(after, 5) == [3, 3, 3, 3, 2]
    check_rules(after, 5, 4)


def test_a_batch_size_of_one():
    assigned = deal(numbered(7, 2), **{**SETTINGS, "batch_size": 1})
    check_rules(assigned, 5, 1)
    assert len({case.batch for case in assigned}) == 9


def test_an_unlabelled_case_that_gets_a_label_is_dealt_and_moves_no_other():
    before = {case.name: case for case in deal(numbered(9, 3), **SETTINGS)}
    cases = {**numbered(9, 3), "case_00009": True}
    after = {case.name: case for case in deal(cases, known=before.values(), **SETTINGS)}
    assert before.pop("case_00009").fold is None
    assert after.pop("case_00009").fold == 4  # the fold that had one case less
    assert after == before


def test_a_case_that_lost_its_label_keeps_its_fold_until_the_user_says_otherwise(tmp_path):
    path = tmp_path / "folds.csv"
    write_assignments(path, deal(numbered(9), **SETTINGS), **DEALT)
    before = path.read_text()
    for lost in (["case_00003"], ["case_00000", "case_00008"], list(numbered(9))):
        cases = numbered(9) | dict.fromkeys(lost, False)
        known = read_assignments(path, **DEALT)
        with pytest.raises(InputError) as told:
            deal(cases, known=known, **SETTINGS)
        message = str(told.value)
        assert message.startswith(", ".join(lost)) and "\n" not in message
        assert "exclude" in message and "folds.csv" in message
    # Its line taken out, it is only segmented, and moves no other.
    path.write_text(re.sub("case_00003,.*\n", "", before).replace("cases=9", "cases=8"))
    known = read_assignments(path, **DEALT)
    after = deal(numbered(9) | {"case_00003": False}, known=known, **SETTINGS)
    assert set(known) < set(after)
    assert [place.fold for place in after if place.name == "case_00003"] == [None]


def test_fewer_labelled_cases_than_folds():
    with pytest.raises(InputError, match=r"folds\.count is 5, but only 4 labelled"):
        deal(numbered(4, 9), **SETTINGS)


def test_a_fold_that_exclusion_left_empty_is_told():
    before = deal(numbered(6), **SETTINGS)
    alone = next(case for case in before if fold_sizes(before, 5)[case.fold] == 1)
    cases = {name: True for name in numbered(6) if name != alone.name}
    with pytest.raises(InputError, match=rf"fold {alone.fold} .*delete .*folds\.csv") as told:
        deal(cases, known=before, **SETTINGS)
    assert "\n" not in str(told.value)
    assert fold_sizes(deal(cases, **SETTINGS), 5) == [1] * 5


names = st.from_regex(r"case_[A-Za-z0-9]{1,3}", fullmatch=True)
case_sets = st.dictionaries(names, st.booleans(), max_size=40)


@settings(max_examples=60, deadline=None)
@given(case_sets, case_sets, st.integers(1, 6), st.integers(0, 99), st.integers(1, 7))
def test_any_cases_are_dealt_by_the_rules(first, added, folds, seed, batch_size):
    options = {"folds": folds, "seed": seed, "batch_size": batch_size}
    if sum(first.values()) < folds:
        with pytest.raises(InputError):
            deal(first, **options)
        return
    before = deal(first, **options)
    assert {case.name: case.fold is not None for case in before} == first
    check_rules(before, folds, batch_size)
    assert max(fold_sizes(before, folds)) - min(fold_sizes(before, folds)) <= 1
    after = deal({**added, **first}, known=before, **options)
    assert set(before) <= set(after)
    check_rules(after, folds, batch_size)
    assert max(fold_sizes(after, folds)) - min(fold_sizes(after, folds)) <= 1


# -- storing ------------------------------------------------------------------------------------


def test_a_stored_assignment_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "results" / "folds.csv"
    assert read_assignments(path, **DEALT) == []
    assigned = deal(numbered(9, 2), **SETTINGS)
    write_assignments(path, assigned, **DEALT)
    assert read_assignments(path, **DEALT) == assigned
    before = path.stat().st_mtime_ns, path.read_text()
    write_assignments(path, random.Random(0).sample(assigned, 11), **DEALT)
    assert (path.stat().st_mtime_ns, path.read_text()) == before


@pytest.mark.parametrize("changed", ["folds", "seed"])
def test_other_folds_than_the_stored_ones_are_not_dealt_unasked(tmp_path, changed):
    path = tmp_path / "folds.csv"
    write_assignments(path, deal(numbered(9), **SETTINGS), **DEALT)
    before = path.read_text()
    other = {**DEALT, changed: DEALT[changed] + 1}
    for use in (read_assignments, lambda path, **other: write_assignments(path, [], **other)):
        with pytest.raises(InputError, match="delete the file") as told:
            use(path, **other)
        message = str(told.value)
        assert message.startswith(f"{path}: was dealt with folds=5 seed=7")
        assert f"folds={other['folds']} seed={other['seed']}" in message and "\n" not in message
    assert path.read_text() == before


@settings(max_examples=40, deadline=None)
@given(case_sets, st.integers(2, 4), st.integers(1, 7), st.integers(1, 7))
def test_another_batch_size_leaves_every_case_where_it_is(
    tmp_path_factory, cases, folds, before, after
):
    cases |= numbered(folds)
    path = tmp_path_factory.mktemp("deal") / "folds.csv"
    options = {"folds": folds, "seed": 7}
    dealt = deal(cases, **options, batch_size=before)
    write_assignments(path, dealt, **options)
    known = read_assignments(path, **options)
    assert known == dealt
    # A new case goes where there is room by the new size.
    assigned = deal({**cases, "case_new0": True}, known=known, **options, batch_size=after)
    (new,) = set(assigned) - set(known)
    assert set(known) < set(assigned)
    beside = [place for place in known if place.batch == new.batch]
    assert len(beside) < after
    write_assignments(path, assigned, **options)
    assert read_assignments(path, **options) == assigned


def test_batches_are_read_as_they_are(tmp_path):
    # As cases that came later leave them: not those that a new deal would make.
    path = tmp_path / "folds.csv"
    stored = [Place("case_1", 0, "fold0-001"), Place("case_2", 0, "fold0-000")]
    write_assignments(path, stored, **DEALT)
    assert read_assignments(path, **DEALT) == stored


def test_a_case_excluded_for_one_run_comes_back_to_its_place(tmp_path):
    path = tmp_path / "folds.csv"
    before = deal(numbered(12), **SETTINGS)
    write_assignments(path, before, **DEALT)
    cases = {**numbered(12), "case_new": True}
    del cases["case_00003"]
    known = read_assignments(path, **DEALT)
    write_assignments(path, deal(cases, known=known, **SETTINGS), **DEALT)
    stored = read_assignments(path, **DEALT)
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
        "case_00001,0,fold0-000",
        "\xff",
    ],
)
def test_a_damaged_file_is_told(tmp_path, row):
    path = tmp_path / "folds.csv"
    write_assignments(path, [Place("case_00001", 1, "fold1-000")], **DEALT)
    content = path.read_bytes().replace(b"cases=1", b"cases=2")
    path.write_bytes(content + f"{row}\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"folds\.csv: damaged") as told:
        read_assignments(path, **DEALT)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "line", ["", "# seed=7 batch_size=4", "# folds=5 seed=x batch_size=4", "# folds=5 cases=1"]
)
def test_a_damaged_first_line_is_told(tmp_path, line):
    path = tmp_path / "folds.csv"
    write_assignments(path, [Place("case_00001", 1, "fold1-000")], **DEALT)
    rows = path.read_text().partition("\n")[2]
    path.write_text(f"{line}\n{rows}")
    with pytest.raises(InputError, match=r"folds\.csv: damaged") as told:
        read_assignments(path, **DEALT)
    assert "\n" not in str(told.value)


def test_a_file_that_a_program_stored_in_another_way_is_told_with_all_ways_out(tmp_path):
    """Programs for tables write semicolons where a comma is in numbers."""
    path = tmp_path / "folds.csv"
    write_assignments(path, deal(numbered(9), **SETTINGS), **DEALT)
    path.write_text(path.read_text().replace(",", ";"))
    with pytest.raises(InputError, match="no column batch; columns are parted by commas") as told:
        read_assignments(path, **DEALT)
    assert "cases.csv beside it" in str(told.value) and "train every model" in str(told.value)


def test_a_file_that_is_cut_off_within_a_line_is_told(tmp_path):
    path = tmp_path / "folds.csv"
    write_assignments(path, deal(numbered(9), **SETTINGS), **DEALT)
    content = path.read_bytes()
    for length in range(1, content.rindex(b"\n")):
        path.write_bytes(content[:length])
        if not content[:length].endswith(b"\n") or content[:length].count(b"\n") < 2:
            with pytest.raises(InputError, match="damaged"):
                read_assignments(path, **DEALT)


def test_a_file_that_is_cut_off_at_the_end_of_a_line_is_told(tmp_path):
    """Its cases would be dealt anew, and models have seen those that they then hold out."""
    path = tmp_path / "folds.csv"
    write_assignments(path, deal(numbered(9), **SETTINGS), **DEALT)
    lines = path.read_text().splitlines(keepends=True)
    for count in range(2, len(lines)):
        path.write_text("".join(lines[:count]))
        left = count - 2
        with pytest.raises(InputError, match=f"{left} cases, but 9 by .* cases={left}") as told:
            read_assignments(path, **DEALT)
        assert str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)
    # Whoever took lines out does what the message says.
    path.write_text("".join(lines[:-1]).replace("cases=9", "cases=8"))
    assert len(read_assignments(path, **DEALT)) == 8


def test_a_first_line_that_names_a_batch_size_too_is_read(tmp_path):
    """As earlier versions wrote it."""
    path = tmp_path / "folds.csv"
    row = "case,fold,batch\ncase_00001,1,fold1-000\n"
    path.write_text(f"# folds=5 seed=7 batch_size=4\n{row}")
    assert read_assignments(path, **DEALT) == [Place("case_00001", 1, "fold1-000")]


def test_a_negative_seed_is_read_as_it_was_written(tmp_path):
    options = {**DEALT, "seed": -7}
    assigned = deal(numbered(9), **options, batch_size=4)
    write_assignments(tmp_path / "folds.csv", assigned, **options)
    assert read_assignments(tmp_path / "folds.csv", **options) == assigned


def test_a_file_without_permission_or_behind_a_broken_link_is_not_to_be_deleted(
    tmp_path, monkeypatch
):
    path = tmp_path / "folds.csv"
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"folds\.csv: cannot be read \(No such file"):
        read_assignments(path, **DEALT)

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match=r"Permission denied.*: mend its permissions") as told:
        read_assignments(path, **DEALT)
    assert "delete" not in str(told.value) and "\n" not in str(told.value)


def test_results_that_are_no_folder_are_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for results in ("file", "file/within", "link", "link/within"):
        with pytest.raises(InputError, match=": no folder: ") as told:
            read_assignments(tmp_path / results / "folds.csv", **DEALT)
        assert str(told.value).startswith(str(tmp_path / results.partition("/")[0]))
        # It may be a device, or worth keeping.
        assert "take it away" not in str(told.value)
    with pytest.raises(InputError, match="File name too long"):
        read_assignments(tmp_path / ("a" * 300) / "folds.csv", **DEALT)


# -- groups and tests ---------------------------------------------------------------------------


def found(names, tests=()):
    return [Case(n, Path(n) / IMAGE, Path(n) / LABEL, test=n in tests) for n in names]


def test_a_group_is_held_out_as_a_whole_and_folds_stay_balanced():
    names = list(numbered(40))
    groups = {name: f"P{number // 4}" for number, name in enumerate(names[:20])}
    places = assign(found(names), groups=groups, **SETTINGS)
    check_rules(places, 5, 4)
    folds = {place.name: place.fold for place in places}
    for group in set(groups.values()):
        assert len({folds[name] for name in names if groups.get(name) == group}) == 1
    assert max(fold_sizes(places, 5)) - min(fold_sizes(places, 5)) <= 4
    # A case that is new joins its group.
    groups["case_00099"] = "P2"
    more = assign(found([*names, "case_00099"]), known=places, groups=groups, **SETTINGS)
    assert {p.name: p.fold for p in more} == folds | {"case_00099": folds["case_00008"]}


def test_groups_that_contradict_stored_folds_are_refused():
    places = assign(found(numbered(10)), **SETTINGS)
    groups = {place.name: "P" for place in places}
    with pytest.raises(InputError, match="P has cases in folds"):
        assign(found(numbered(10)), known=places, groups=groups, **SETTINGS)


def test_tests_have_no_fold_and_keep_their_batches(tmp_path):
    names = list(numbered(20))
    tests = names[15:]
    places = assign(found(names, tests), **SETTINGS)
    assert {place.batch for place in places[15:]} == {"test-000", "test-001"}
    assert all(place.fold is None for place in places[15:])
    write_assignments(tmp_path / "folds.csv", places, **DEALT)
    stored = read_assignments(tmp_path / "folds.csv", **DEALT)
    assert assign(found(names, tests), known=stored, **SETTINGS) == places


def test_a_case_that_models_have_learned_from_is_no_test():
    places = assign(found(numbered(10)), **SETTINGS)
    with pytest.raises(InputError, match=r"case_00003: folds.csv .* models have learned from it"):
        assign(found(numbered(10), ["case_00003"]), known=places, **SETTINGS)


def test_a_case_that_was_only_segmented_becomes_a_test():
    places = deal(numbered(10, 2), **SETTINGS)
    names = list(numbered(12))
    later = assign(found(names, names[10:]), known=places, **SETTINGS)
    assert later[:10] == places[:10]
    assert [place.batch for place in later[10:]] == ["test-000"] * 2
