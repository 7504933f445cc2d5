"""The listing: one index of all cases, and all bad ones at once."""

import csv
import json
from dataclasses import replace

import pytest

from renal.data.listing import check_cases, list_cases
from renal.errors import InputError


def in_batches(cases):
    labelled = [case for case in cases if case.labelled]
    return {
        "unlabelled-000": [case for case in cases if not case.labelled],
        "fold1-000": labelled[1:],
        "fold0-000": labelled[:1],
    }


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_index_has_a_row_for_every_case(checked, tmp_path):
    output = tmp_path / "cases.csv"
    list_cases(in_batches(checked), tmp_path, output)
    table = rows(output)
    assert [row["case"] for row in table] == [f"case_0000{number}" for number in range(4)]
    assert [row["fold"] for row in table] == ["0", "1", "1", ""]
    assert [row["batch"] for row in table][-1] == "unlabelled-000"
    assert [row["usable"] for row in table] == ["True"] * 4
    first = table[0]
    assert [int(first[name]) for name in ("slices", "rows", "columns")] == checked[0].shape
    spacing = [float(first[f"spacing_{axis}_mm"]) for axis in "zyx"]
    assert spacing == checked[0].spacing
    assert float(first["kidney_ml"]) == checked[0].volumes_ml["kidney"]
    assert table[3]["kidney_ml"] == table[3]["tumour_ml"] == ""


def test_what_is_wrong_with_a_case_is_a_remark(checked, tmp_path):
    """Before what is unusual about it; and the list is written whatever is wrong."""
    data = listed(tmp_path, [{"case_id": checked[0].name, "voxel_spacing": {"z_spacing": 4.0}}])
    fault = 'c/imaging.nii.gz: "odd", damaged: copy it again'
    bad = replace(checked[2], fault=fault, notes=["values up to 5000 HU"])
    list_cases(in_batches([*checked[:2], bad, checked[3]]), data, tmp_path / "cases.csv")
    table = rows(tmp_path / "cases.csv")
    assert [row["usable"] for row in table] == ["False", "True", "False", "True"]
    assert table[0]["remark"].startswith("case_00000: spacing ")
    assert table[2]["remark"] == f"{fault}; values up to 5000 HU"


def test_with_a_bad_labelled_case_all_are_told_at_once_and_nothing_is_written(checked, tmp_path):
    cases = list(checked)
    cases[2] = replace(cases[2], fault="c/imaging.nii.gz: damaged: copy it again")
    cases[0] = replace(cases[0], fault='a/seg.nii.gz: label values [3], "odd": mend it')
    cases[3] = replace(cases[3], fault="d/imaging.nii.gz: missing: put it there")
    with pytest.raises(InputError) as told:
        check_cases(cases, tmp_path / "kits19", tmp_path / "usable.txt")
    lines = str(told.value).splitlines()
    assert lines[:3] == [cases[0].fault, cases[2].fault, cases[3].fault]
    assert lines[3].startswith("3 of 4 cases cannot be used") and "data.exclude" in lines[3]
    assert len(lines) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_bad_unlabelled_case_is_left_out_and_the_others_go_on(checked, tmp_path):
    fault = 'd/imaging.nii.gz: shape (5, 6), "three" axes: store one'
    unread = replace(checked[3], fault=fault, shape=None, spacing=None)
    cases = [*checked[:3], unread]
    assert check_cases(cases, tmp_path / "kits19", tmp_path / "usable.txt") == [fault]
    names = [case.name for case in checked[:3]]
    assert (tmp_path / "usable.txt").read_text().splitlines() == names
    list_cases(in_batches(cases), tmp_path / "kits19", tmp_path / "cases.csv")
    last = rows(tmp_path / "cases.csv")[-1]
    assert last["usable"] == "False" and last["remark"] == fault and last["slices"] == ""


def test_the_same_image_twice_is_told_with_the_other_case(checked, tmp_path, caplog):
    first, second, third, last = checked
    twin = replace(second, sample=first.sample, shape=first.shape)
    other = replace(third, sample=first.sample, shape=[9, 9, 9])  # by chance
    cases = [first, twin, other, last]
    assert check_cases(cases, tmp_path / "kits19", tmp_path / "usable.txt") == []
    list_cases(in_batches(cases), tmp_path / "kits19", tmp_path / "cases.csv")
    remarks = [row["remark"] for row in rows(tmp_path / "cases.csv")]
    leak = ", which is learned from while this one is held out"
    told = [f"same image as case_0000{n} (fold{n}-000){leak}" for n in (1, 0)]
    assert remarks == [*told, "", ""]
    assert caplog.messages == [f"case_00000: {told[0]}", f"case_00001: {told[1]}"]


def test_the_same_image_within_a_fold_or_unlabelled_is_no_leak(checked, tmp_path):
    _, second, third, last = checked
    same = {"shape": second.shape, "sample": second.sample}
    third, last = (replace(case, **same) for case in (third, last))
    batches = {"fold1-000": [second], "fold1-001": [third], "unlabelled-000": [last]}
    list_cases(batches, tmp_path, tmp_path / "cases.csv")
    assert [row["remark"] for row in rows(tmp_path / "cases.csv")] == [
        "same image as case_00002 (fold1-001), case_00003 (unlabelled-000)",
        "same image as case_00001 (fold1-000), case_00003 (unlabelled-000)",
        "same image as case_00001 (fold1-000), case_00002 (fold1-001)",
    ]


def test_the_same_image_in_a_fold_and_among_the_tests_is_told(checked, tmp_path):
    first, second, *_ = checked
    twin = replace(second, sample=first.sample, shape=first.shape)
    list_cases({"fold0-000": [first], "test-000": [twin]}, tmp_path, tmp_path / "cases.csv")
    both = ": one is learned from, and the other is a test"
    assert [row["remark"] for row in rows(tmp_path / "cases.csv")] == [
        f"same image as case_00001 (test-000){both}",
        f"same image as case_00000 (fold0-000){both}",
    ]


def test_cases_that_could_not_be_read_are_no_twins(checked, tmp_path):
    unread = [replace(checked[3], name=f"case_{n}", sample="", fault="x: y: z") for n in "ab"]
    list_cases({"unlabelled-000": unread}, tmp_path / "kits19", tmp_path / "cases.csv")
    assert [row["remark"] for row in rows(tmp_path / "cases.csv")] == ["x: y: z"] * 2


def test_notes_are_remarks(checked, tmp_path):
    noted = replace(checked[0], notes=["no tumour in the label", "another"])
    list_cases({"fold0-000": [noted]}, tmp_path / "kits19", tmp_path / "cases.csv")
    assert rows(tmp_path / "cases.csv")[0]["remark"] == "no tumour in the label; another"


# -- kits.json ------------------------------------------------------------------------------------


def listed(folder, entries):
    folder.mkdir(exist_ok=True)
    text = entries if isinstance(entries, str) else json.dumps(entries)
    (folder / "kits.json").write_text(text)
    return folder


def spacing_of(case):
    return {f"{axis}_spacing": mm for axis, mm in zip("zyx", case.spacing, strict=True)}


@pytest.mark.parametrize("number", [0, 3], ids=["labelled", "unlabelled"])
def test_a_spacing_other_than_the_listed_one_is_refused(checked, tmp_path, number):
    entries = [{"case_id": c.name, "voxel_spacing": spacing_of(c)} for c in checked[:4]]
    entries[1]["voxel_spacing"]["x_spacing"] += 1e-3  # as rounded as other lists are
    del entries[2]["voxel_spacing"]
    data, output = listed(tmp_path / "kits19", entries), tmp_path / "usable.txt"
    assert check_cases(checked, data, output) == []
    entries[number]["voxel_spacing"]["z_spacing"] += 0.5
    listed(data, entries)
    output.unlink()
    with pytest.raises(InputError) as told:
        check_cases(checked, data, output)
    first = str(told.value).splitlines()[0]
    assert first.startswith(f"{checked[number].name}: spacing ") and "kits.json says" in first
    assert not output.exists()


@pytest.mark.parametrize(
    "spacing", [3, "thick", [5, 1, 1], {"z_spacing": "5 mm"}, {"z": 5}, {"z_spacing": 10**400}]
)
def test_a_listed_spacing_that_is_not_one(checked, tmp_path, spacing):
    others = {"y_spacing": 1.0, "x_spacing": 1.0}
    spacing = {**others, **spacing} if isinstance(spacing, dict) else spacing
    data = listed(tmp_path, [{"case_id": checked[0].name, "voxel_spacing": spacing}])
    with pytest.raises(InputError, match=r"kits\.json says"):
        check_cases(checked, data, tmp_path / "usable.txt")


@pytest.mark.parametrize("content", ["{}", '"text"', "not JSON"])
def test_a_list_that_is_none(checked, tmp_path, content):
    with pytest.raises(InputError, match=r"kits\.json"):
        check_cases(checked, listed(tmp_path, content), tmp_path / "usable.txt")


@pytest.mark.parametrize("content", ["[]", "[1, null]", '[{"case_id": null}, {"other": 1}]'])
def test_a_list_that_names_no_case(checked, tmp_path, content):
    data = listed(tmp_path, content)
    assert check_cases(checked, data, tmp_path / "usable.txt") == []
