"""Collecting: one table and one folder from what batches made."""

import csv
import zipfile

import pytest

from renal.errors import InputError
from renal.evaluate.collect import (
    check_segmented,
    collect_scores,
    collect_segmentations,
    write_submission,
)
from renal.handover.checked import CheckedCase


def named(*names):
    return [CheckedCase(name, f"{name}/imaging.nii.gz") for name in names]


def write_segmentations(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.nii.gz").write_bytes(name.encode())
    return folder


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_scores_of_all_folds_in_order_of_case(tmp_path):
    parts = [tmp_path / "fold0.csv", tmp_path / "fold1.csv"]
    parts[0].write_text("fold,case,dice\n0,case_3,0.5\n0,case_1,0.25\n")
    parts[1].write_text("fold,case,dice\n1,case_2,\n")
    collect_scores(parts, tmp_path / "new" / "scores.csv", ["case_2", "case_1", "case_3"])
    table = rows(tmp_path / "new" / "scores.csv")
    assert [(row["case"], row["dice"]) for row in table] == [
        ("case_1", "0.25"),
        ("case_2", ""),
        ("case_3", "0.5"),
    ]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("hao,case_2,\n", "case_4 scored by none"),
        ("hao,case_2,\nhao,case_4,\nhao,case_5,\n", "case_5 scored by none"),
        ("hao,case_2,\nhao,case_4,\nhao,case_1,\n", "a case scored by none, by several"),
    ],
    ids=["too few", "too many", "twice"],
)
def test_a_table_knows_which_cases_it_must_have(tmp_path, second, told):
    parts = [tmp_path / "fold0.csv", tmp_path / "fold1.csv"]
    parts[0].write_text("method,case,dice\nhao,case_3,0.5\nhao,case_3,0.6\nhao,case_1,0.25\n")
    parts[1].write_text("method,case,dice\n" + second)
    with pytest.raises(InputError, match=told) as error:
        collect_scores(parts, tmp_path / "all.csv", [f"case_{number}" for number in range(1, 5)])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "all.csv").exists()


def test_tables_of_other_columns_are_not_joined(tmp_path):
    parts = [tmp_path / "fold0.csv", tmp_path / "fold1.csv"]
    parts[0].write_text("case,kidney_dice,tumour_dice\ncase_1,0.95,0.6\n")
    parts[1].write_text("case,tumour_dice,kidney_dice\ncase_2,0.6,0.95\n")
    with pytest.raises(InputError) as error:
        collect_scores(parts, tmp_path / "all.csv")
    assert str(error.value) == (
        f"{parts[1]}: other columns than {parts[0]}: delete both and run again"
    )
    assert not (tmp_path / "all.csv").exists()


@pytest.mark.parametrize(
    "content",
    [None, b"", b"name,dice\ncase_1,\n", b"case,dice\ncase_1,\ncas", b"case,dice\n\xff,\n"],
    ids=["missing", "empty", "no cases", "cut off", "no text"],
)
def test_a_damaged_table_is_named(tmp_path, content):
    parts = [tmp_path / "fold0.csv", tmp_path / "fold1.csv"]
    parts[0].write_text("case,dice\ncase_0,0.5\n")
    if content is not None:
        parts[1].write_bytes(content)
    with pytest.raises(InputError) as told:
        collect_scores(parts, tmp_path / "all.csv")
    message = str(told.value)
    assert message.startswith(f"{parts[1]}: damaged (") and "\n" not in message
    assert message.endswith("): delete it and run the workflow again")
    assert not (tmp_path / "all.csv").exists()


def test_segmentations_are_copied_and_replaced(tmp_path):
    folders = [
        write_segmentations(tmp_path / "fold0", "case_0"),
        write_segmentations(tmp_path / "fold1", "case_1", "case_2", "case_left"),
    ]
    groups = {folders[0]: named("case_0"), folders[1]: named("case_1", "case_2")}
    output = tmp_path / "all"
    for _ in range(2):
        collect_segmentations(groups, output)
        copies = sorted(output.iterdir())
        assert [path.name for path in copies] == [f"case_{number}.nii.gz" for number in range(3)]
        assert [path.read_text() for path in copies] == ["case_0", "case_1", "case_2"]
        # What somebody corrects in the copy is not taken for what was predicted.
        with (output / "case_1.nii.gz").open("r+") as stream:
            stream.write("mended")
        assert (folders[1] / "case_1.nii.gz").read_text() == "case_1"


def test_a_method_without_segmented_cases_has_an_empty_folder(tmp_path):
    collect_segmentations({tmp_path / "fold0": []}, tmp_path / "all")
    assert list((tmp_path / "all").iterdir()) == []


def assert_missing(told, folder, name):
    message = str(told.value)
    assert message.startswith(f"{folder / name}.nii.gz: missing") and "\n" not in message
    assert f"delete the folder {folder}" in message


def test_a_missing_segmentation_names_the_folder_to_delete(tmp_path):
    folder = write_segmentations(tmp_path / "fold0", "case_0")
    with pytest.raises(InputError) as told:
        collect_segmentations({folder: named("case_0", "case_1")}, tmp_path / "all")
    assert_missing(told, folder, "case_1")
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["case_0.nii.gz"]


def test_a_run_in_which_every_case_was_segmented(tmp_path):
    folders = [write_segmentations(tmp_path / name, "case_0", "case_1") for name in ("a", "b")]
    output = tmp_path / "segmented" / "all.txt"
    check_segmented(named("case_0", "case_1"), folders, output)
    assert output.read_text() == "all 2 cases were segmented\n"


def test_cases_that_were_not_segmented_are_told_all_at_once(tmp_path):
    folder = write_segmentations(tmp_path / "a", "case_0")
    cases = named("case_0", "case_1", "case_2")
    cases[1].fault, cases[2].fault = "one/imaging.nii.gz: damaged", "two/imaging.nii.gz: missing"
    with pytest.raises(InputError) as told:
        check_segmented(cases, [folder], tmp_path / "all.txt")
    first, second, last = str(told.value).splitlines()
    assert [first, second] == [cases[1].fault, cases[2].fault]
    assert "not segmented: 2" in last and "data.exclude" in last
    assert not (tmp_path / "all.txt").exists()


def test_a_segmentation_gone_from_one_method_is_told(tmp_path):
    folders = [write_segmentations(tmp_path / name, "case_0", "case_1") for name in ("a", "b")]
    (folders[1] / "case_1.nii.gz").unlink()
    with pytest.raises(InputError) as told:
        check_segmented(named("case_0", "case_1"), folders, tmp_path / "all.txt")
    assert_missing(told, folders[1], "case_1")
    assert not (tmp_path / "all.txt").exists()


def test_the_submission_is_named_as_the_challenge_asks_and_repeatable(tmp_path):
    names = ("case_00210", "case_00211", "case_00001")
    segmentations = write_segmentations(tmp_path / "segmentation", *names)
    output = tmp_path / "submission"
    archives = []
    for cases in (["case_00211", "case_00210"], ["case_00210", "case_00211"]):
        write_submission(segmentations, cases, output)
        archives.append((output / "submission.zip").read_bytes())
    assert archives[0] == archives[1]
    expected = ["prediction_00210.nii.gz", "prediction_00211.nii.gz"]
    assert sorted(path.name for path in output.iterdir()) == [*expected, "submission.zip"]
    with zipfile.ZipFile(output / "submission.zip") as archive:
        assert archive.namelist() == expected
        assert archive.read(expected[1]) == b"case_00211"
    copy = output / expected[1]
    assert copy.read_bytes() == b"case_00211"
    assert not copy.samefile(segmentations / "case_00211.nii.gz")


def test_a_submission_without_its_segmentations_leaves_no_archive(tmp_path):
    folder, output = write_segmentations(tmp_path / "a", "case_00210"), tmp_path / "submission"
    with pytest.raises(InputError) as told:
        write_submission(folder, ["case_00210", "case_00211"], output)
    assert_missing(told, folder, "case_00211")
    assert [path.name for path in output.iterdir()] == ["prediction_00210.nii.gz"]
