"""What tells that outlines are others."""

import os

from renal.data.stamps import outline_stamps


def test_outlines_are_known_by_name_size_and_time_stamp(tmp_path):
    names = [f"case_1/instances/kidney_instance-1_annotation-{n}.nii.gz" for n in (1, 2)]
    (tmp_path / "case_1/instances").mkdir(parents=True)
    images = {case: tmp_path / case / "imaging.nii.gz" for case in ("case_1", "case_2")}
    told = [name.replace("/instances/", " ") for name in names]
    for name in names:
        (tmp_path / name).write_bytes(b"1")
        os.utime(tmp_path / name, ns=(7, 7))
    assert outline_stamps(images) == [f"{name} 1 7" for name in told]
    (tmp_path / names[0]).write_bytes(b"12")
    os.utime(tmp_path / names[0], ns=(7, 7))
    assert outline_stamps(images) == [f"{told[0]} 2 7", f"{told[1]} 1 7"]
    (tmp_path / names[1]).unlink()
    assert outline_stamps(images) == []
