"""Collecting: one index, one table and one folder from what batches made."""

import csv
import zipfile
from dataclasses import replace

import pytest

from renal.collect import check_cases, collect_scores, collect_segmentations, write_submission
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


def test_bad_labelled_cases_are_told_all_at_once_and_nothing_is_written(checked, tmp_path):
    cases = list(checked)
    cases[2] = replace(cases[2], fault="c/imaging.nii.gz: damaged: copy it again")
    cases[0] = replace(cases[0], fault='a/seg.nii.gz: label values [3], "odd": mend it')
    cases[3] = replace(cases[3], fault="d/imaging.nii.gz: missing: put it there")
    with pytest.raises(InputError) as told:
        check_cases(in_batches(cases), tmp_path / "cases.csv")
    lines = str(told.value).splitlines()
    assert lines[:2] == [cases[0].fault, cases[2].fault]
    assert lines[2].startswith("2 of 4 cases cannot be used") and "data.exclude" in lines[2]
    assert len(lines) == 3
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


def test_segmentations_are_linked_and_replaced(tmp_path):
    folders = [tmp_path / "fold0", tmp_path / "fold1"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / f"case_{number}.nii.gz").write_text(str(number))
        (folder / "cases.json").write_text("[]")
    output = tmp_path / "all"
    for _ in range(2):
        collect_segmentations(folders, output)
        assert sorted(path.name for path in output.iterdir()) == ["case_0.nii.gz", "case_1.nii.gz"]
        assert (output / "case_1.nii.gz").samefile(folders[1] / "case_1.nii.gz")


def test_the_submission_is_named_as_the_challenge_asks_and_repeatable(tmp_path):
    segmentations = tmp_path / "segmentation"
    segmentations.mkdir()
    for name in ("case_00210", "case_00211", "case_00001"):
        (segmentations / f"{name}.nii.gz").write_bytes(name.encode())
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


def test_a_submission_without_its_segmentations_leaves_no_archive(tmp_path):
    with pytest.raises(InputError, match=r"submission\.zip"):
        write_submission(tmp_path, ["case_00210"], tmp_path / "submission")
    assert list((tmp_path / "submission").iterdir()) == []
