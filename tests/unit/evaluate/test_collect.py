"""Collecting: one index, one table and one folder from what batches made."""

import csv
import zipfile
from dataclasses import replace

import pytest

from renal.data.listing import check_cases
from renal.errors import InputError
from renal.evaluate.collect import (
    check_segmented,
    collect_scores,
    collect_segmentations,
    segmentation_of,
    write_submission,
)
from renal.handover.checked import CheckedCase


def in_batches(cases):
    labelled = [case for case in cases if case.labelled]
    return {
        "unlabelled-000": [case for case in cases if not case.labelled],
        "fold1-000": labelled[1:],
        "fold0-000": labelled[:1],
    }


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


def test_the_index_has_a_row_for_every_case(checked, tmp_path):
    output = tmp_path / "cases.csv"
    assert check_cases(in_batches(checked), output) == []
    table = rows(output)
    assert [row["case"] for row in table] == [f"case_0000{number}" for number in range(4)]
    assert [row["fold"] for row in table] == ["0", "1", "1", ""]
    assert [row["batch"] for row in table][-1] == "unlabelled-000"
    assert [row["usable"] for row in table] == ["True"] * 4
    first = table[0]
    assert [int(first[name]) for name in ("slices", "rows", "columns")] == checked[0].shape
    spacing = [float(first[f"spacing_{axis}_mm"]) for axis in "zyx"]
    assert spacing == checked[0].spacing
    assert float(first["kidney_ml"]) == checked[0].kidney_ml
    assert table[3]["kidney_ml"] == table[3]["tumour_ml"] == ""


def test_with_a_bad_labelled_case_all_are_told_at_once_and_nothing_is_written(checked, tmp_path):
    cases = list(checked)
    cases[2] = replace(cases[2], fault="c/imaging.nii.gz: damaged: copy it again")
    cases[0] = replace(cases[0], fault='a/seg.nii.gz: label values [3], "odd": mend it')
    cases[3] = replace(cases[3], fault="d/imaging.nii.gz: missing: put it there")
    with pytest.raises(InputError) as told:
        check_cases(in_batches(cases), tmp_path / "cases.csv")
    lines = str(told.value).splitlines()
    assert lines[:3] == [cases[0].fault, cases[2].fault, cases[3].fault]
    assert lines[3].startswith("3 of 4 cases cannot be used") and "data.exclude" in lines[3]
    assert len(lines) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_bad_unlabelled_case_is_left_out_and_the_others_go_on(checked, tmp_path):
    fault = 'd/imaging.nii.gz: shape (5, 6), "three" axes: store one'
    unread = replace(checked[3], fault=fault, shape=None, spacing=None)
    assert check_cases(in_batches([*checked[:3], unread]), tmp_path / "cases.csv") == [fault]
    last = rows(tmp_path / "cases.csv")[-1]
    assert last["usable"] == "False" and last["remark"] == fault and last["slices"] == ""


def test_notes_are_remarks(checked, tmp_path):
    noted = replace(checked[0], notes=["no tumour in the label", "another"])
    check_cases({"fold0-000": [noted]}, tmp_path / "cases.csv")
    assert rows(tmp_path / "cases.csv")[0]["remark"] == "no tumour in the label; another"


def test_scores_of_all_folds_in_order_of_case(tmp_path):
    parts = [tmp_path / "fold0.csv", tmp_path / "fold1.csv"]
    parts[0].write_text("method,case,dice\nhao,case_3,0.5\nhao,case_1,0.25\n")
    parts[1].write_text("method,case,dice\nhao,case_2,\n")
    collect_scores(parts, tmp_path / "new" / "scores.csv")
    table = rows(tmp_path / "new" / "scores.csv")
    assert [(row["case"], row["dice"]) for row in table] == [
        ("case_1", "0.25"),
        ("case_2", ""),
        ("case_3", "0.5"),
    ]


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
    assert segmentation_of(folder, "case_0") == folder / "case_0.nii.gz"
    with pytest.raises(InputError) as told:
        segmentation_of(folder, "case_1")
    assert_missing(told, folder, "case_1")
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
