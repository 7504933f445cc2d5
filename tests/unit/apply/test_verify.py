"""What was tampered with in an archive is told, and an honest one passes."""

import hashlib
import os
import re
import zipfile

import nibabel as nib
import numpy as np
import pytest

from renal.apply.verify import _compared_tables, verify
from renal.errors import InputError

SUMS = "SHA256SUMS"


def tampered(source, target, changes, *, hidden=False):
    """A copy with other members; with their checksums, too, where the tampering is hidden.

    A change makes of a member's content another, or None, which takes it away.
    """
    with zipfile.ZipFile(source) as old:
        members = {name: old.read(name) for name in old.namelist()}
    for member, change in changes.items():
        content = change(members.pop(member))
        if content is not None:
            members[member] = content
    if hidden:
        digests = {n: hashlib.sha256(c).hexdigest() for n, c in members.items() if n != SUMS}
        members[SUMS] = "".join(f"{digest}  {n}\n" for n, digest in digests.items()).encode()
    with zipfile.ZipFile(target, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return target


def with_cell(column, value, line=1):
    """Puts another value into a column of a table."""

    def change(content):
        rows = [row.split(",") for row in content.decode().splitlines()]
        rows[line][rows[0].index(column)] = value
        return "\n".join([*map(",".join, rows), ""]).encode()

    return change


def test_an_honest_archive_passes(archived, shared_kits19):
    found = verify(archived)
    assert found.differences == []
    assert any("14 tables" in line for line in found.compared)
    found = verify(archived, shared_kits19)
    assert found.differences == []
    assert [line for line in found.compared if "with those of 3 segmentations" in line]


def test_labels_alone_will_do(archived, shared_kits19, tmp_path):
    """A folder of label maps, of two of the cases."""
    for name in ("case_00000", "case_00002"):
        label = shared_kits19 / name / "segmentation.nii.gz"
        (tmp_path / f"{name}.nii.gz").write_bytes(label.read_bytes())
    found = verify(archived, tmp_path)
    assert found.differences == []
    told = "those of 2 segmentations; of 1 cases there is no label at hand"
    assert sum(told in line for line in found.compared) == 2


@pytest.mark.parametrize("hidden", [False, True])
def test_another_score(archived, tmp_path, shared_kits19, hidden):
    change = with_cell("tumour_dice", "0.99")
    path = tampered(archived, tmp_path / "a.zip", {"resvnet/scores.csv": change}, hidden=hidden)
    differences = verify(path).differences
    assert ("resvnet/scores.csv: changed since it was archived" in differences) != hidden
    assert any(
        line.startswith("tables/cv.csv: resvnet resvnet native tumour_dice")
        and line.endswith("computed again")
        for line in differences
    )
    assert any(line.startswith("tables/cv.md: line ") for line in differences)
    differences = verify(path, shared_kits19).differences
    assert any(
        line.startswith("resvnet: case_00000, tumour_dice: 0.99 in the archive,")
        for line in differences
    )


def test_another_figure_in_a_table(archived, tmp_path):
    change = with_cell("mean", "0.987654")
    path = tampered(archived, tmp_path / "a.zip", {"tables/cv.csv": change}, hidden=True)
    (line,) = verify(path).differences
    assert line.startswith(
        "tables/cv.csv: resvnet resvnet native kidney_dice, mean: 0.987654 in the archive, 0."
    )


def test_another_digit_in_a_text(archived, tmp_path):
    path = tampered(
        archived,
        tmp_path / "a.zip",
        {"tables/cv.md": lambda c: c.replace(b"0.", b"1.", 1)},
        hidden=True,
    )
    (line,) = verify(path).differences
    assert line.startswith("tables/cv.md: line ")


def test_another_segmentation(archived, tmp_path, shared_kits19):
    """Better than what was scored: the truth itself."""
    label = (shared_kits19 / "case_00001/segmentation.nii.gz").read_bytes()
    member = "resvnet/segmentation/case_00001.nii.gz"
    path = tampered(archived, tmp_path / "a.zip", {member: lambda _: label}, hidden=True)
    assert verify(path).differences == []  # tables and scores still fit each other
    (line,) = verify(path, shared_kits19).differences
    assert line.startswith("resvnet: case_00001, ") and line.endswith("1.0 computed again")


def test_a_segmentation_of_another_place(archived, tmp_path, shared_kits19):
    other = tmp_path / "other.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), other)
    member = "resvnet/segmentation/case_00001.nii.gz"
    for content, told in ((other.read_bytes(), "shape (8, 8, 8)"), (b"no image", "not readable")):
        path = tampered(archived, tmp_path / "a.zip", {member: lambda _, c=content: c}, hidden=True)
        (line,) = verify(path, shared_kits19).differences
        assert line.startswith("resvnet, case_00001: ") and told in line


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: damaged .*no regular file"):
        verify(tmp_path / "pipe")


def test_a_missing_file(archived, tmp_path, shared_kits19):
    def gone(_):
        return None

    path = tampered(archived, tmp_path / "a.zip", {"tables/cv.tex": gone})
    assert verify(path).differences == ["tables/cv.tex: missing"] * 2
    path = tampered(archived, tmp_path / "a.zip", {"nnunet_segmentations/scores.csv": gone})
    first, second = verify(path).differences
    assert first == "nnunet_segmentations/scores.csv: missing"
    assert second.startswith("tables cannot be computed from the scores: nnunet_segmentations/sco")
    member = "resvnet/segmentation/case_00001.nii.gz"
    path = tampered(archived, tmp_path / "a.zip", {member: gone}, hidden=True)
    assert verify(path, shared_kits19).differences == ["resvnet/segmentation: no case_00001"]


def test_other_labels_than_those_that_were_scored_against(archived, kits19):
    path = kits19 / "case_00002/segmentation.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.minimum(image.dataobj, 1), image.affine), path)
    found = verify(archived, kits19)
    told = "case_00002: the label is another than the one that was scored against"
    assert found.differences == [f"resvnet, {told}", f"nnunet_segmentations, {told}"]


def test_scores_that_lack_a_case_or_a_column(archived, tmp_path, shared_kits19):
    """And code that is another, as of another version: what is told of it is no difference."""

    def without_a_case(content):
        lines = content.splitlines(keepends=True)
        return b"".join(line for line in lines if b",case_00000," not in line)

    changes = {
        "resvnet/scores.csv": without_a_case,
        **{
            f"nnunet_segmentations/{name}": lambda c: c.replace(b",kidney_hd95,", b",hd95,", 1)
            for name in ("scores.csv", "test_scores.csv")
        },
        "run.json": lambda c: re.sub(rb'("evaluate": )"\w+"', rb'\1"01234567"', c),
    }
    path = tampered(archived, tmp_path / "a.zip", changes, hidden=True)
    (tmp_path / "labels").mkdir()
    label = shared_kits19 / "case_00000/segmentation.nii.gz"
    (tmp_path / "labels/case_00000.nii.gz").write_bytes(label.read_bytes())
    found = verify(path, tmp_path / "labels")
    assert found.differences[0].startswith("tables cannot be computed from the scores: ")
    assert found.differences[1:] == [
        "resvnet: no score of case_00000",
        "nnunet_segmentations: no column kidney_hd95",
    ]
    assert [line for line in found.compared if line.startswith("by other code than theirs: renal")]
    (tmp_path / "labels/case_00000.nii.gz").write_bytes(b"another")
    found = verify(path, tmp_path / "labels")
    told = "case_00000: the label is another than the one that was scored against"
    assert found.differences[1:] == [f"resvnet, {told}", f"nnunet_segmentations, {told}"]
    assert sum("with those of 0 segmentations" in line for line in found.compared) == 2


def test_a_table_that_lacks_a_row_or_has_another_column(tmp_path):
    for name, text in (
        ("whole", "method,mean\none,0.5\ntwo,0.7\n"),
        ("short", "method,mean\none,0.5\n"),
        ("other", "method,sd\none,0.5\ntwo,0.7\n"),
    ):
        (tmp_path / name).write_text(text)
    assert _compared_tables(tmp_path / "whole", tmp_path / "whole") == []
    for name, rows in (("short", 1), ("other", 2)):
        assert _compared_tables(tmp_path / name, tmp_path / "whole") == [
            f"{rows} rows and 2 columns in the archive, computed again 2 and 2, or of other names"
        ]


def test_labels_without_segmentations(archived, tmp_path, shared_kits19):
    gone = {
        f"{row}/segmentation/case_{number:05d}.nii.gz": lambda _: None
        for row in ("resvnet", "nnunet_segmentations")
        for number in range(3)
    }
    path = tampered(archived, tmp_path / "a.zip", gone, hidden=True)
    assert verify(path).differences == []
    with pytest.raises(InputError, match="no segmentations in it: leave --data out"):
        verify(path, shared_kits19)


def test_what_is_no_archive_is_refused(archived, packed, tmp_path):
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archived.read_bytes()[:5000])
    for path, told in (
        (tmp_path / "none.zip", "none.zip is missing"),
        (cut, "damaged or no archive of a run"),
        (packed, "is no part of an archive"),
        (tmp_path, "a folder: name the file"),
    ):
        with pytest.raises(InputError, match=told) as error:
            verify(path)
        assert "\n" not in str(error.value)
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../run.json", "{}")
    with pytest.raises(InputError, match="is no part of an archive"):
        verify(tmp_path / "up.zip")
    newer = tampered(
        archived,
        tmp_path / "newer.zip",
        {"run.json": lambda c: c.replace(b'"format": 1', b'"format": 2')},
    )
    with pytest.raises(InputError, match=r"run\.json: format 2, this program reads up to 1"):
        verify(newer)
