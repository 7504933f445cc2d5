"""Label descriptions as viewers read them."""

from renal.__main__ import parser


def test_both_say_the_same(tmp_path):
    a = parser().parse_args(["label_descriptions", "--to", str(tmp_path)])
    a.step(a)()
    slicer = [line.split() for line in (tmp_path / "slicer.ctbl").read_text().splitlines()[1:]]
    assert slicer[0] == ["0", "background", "0", "0", "0", "0"]
    text = (tmp_path / "itksnap.txt").read_text().splitlines()
    snap = [line.split() for line in text if not line.startswith("#")][1:]
    assert [row[:1] + row[2:5] for row in slicer[1:]] == [row[:4] for row in snap]
    assert [row[-1].strip('"') for row in snap] == ["parenchyma", "tumour"]
