"""The table of series."""

from renal.__main__ import parser

from ..image.dicom_files import series_files, write_files


def test_a_table_of_series(tmp_path, capsys):
    write_files(tmp_path / "good", series_files())
    (tmp_path / "notes.txt").write_text("no DICOM")
    write_files(
        tmp_path / "bad", series_files(series="1.3")[::2][:3] + series_files(series="1.3")[7:8]
    )
    write_files(tmp_path / "mr", series_files(series="1.4", Modality="MR", SeriesNumber=9))
    a = parser().parse_args(["series", str(tmp_path)])
    a.step(a)()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["name", "modality", "number"]
    assert any("Abdomen venous  12      6 x 5 x 8" in line for line in lines)
    assert any(line.startswith("  cannot be used: ") and "uneven" in line for line in lines)
    assert any("modality MR" in line for line in lines)
    assert lines[-1] == "left out: 1 files that are not DICOM (notes.txt)"
