"""Tables between steps: what is missing or damaged is told with the file and what to do."""

import pandas as pd
import pytest

from renal.errors import InputError
from renal.handover.tables import read_table


def test_a_table_with_what_is_asked_for_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("case,dice,more\ncase_0,0.5,x\n")
    table = read_table(tmp_path / "a.csv", ["dice", "case"])
    assert table.to_dict("records") == [{"case": "case_0", "dice": 0.5, "more": "x"}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "No columns to parse"),
        (b"case,dice\n", "no row"),
        (b"case,score\ncase_0,0.5\n", "no column dice"),
        (b"case,dice\n\xff\xfe,0.5\n", "codec can't decode"),
        (b"case,dice\na,b\na,b,c\n", "Expected 2 fields"),
    ],
    ids=["missing", "empty", "header alone", "another column", "no text", "ragged"],
)
def test_a_damaged_table_is_told_in_one_line(tmp_path, content, reason):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as told:
        read_table(path, ["case", "dice"])
    message = str(told.value)
    assert message.startswith(f"{path}: missing or damaged (") and reason in message
    assert message.endswith("): delete it and run the workflow again") and "\n" not in message


def test_a_table_that_may_not_be_read_is_not_to_be_deleted(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pd, "read_csv", refuse)
    with pytest.raises(InputError, match=r"denied.*: mend its permissions or the disk$") as told:
        read_table(tmp_path / "a.csv", ["case"])
    assert "delete" not in str(told.value)
