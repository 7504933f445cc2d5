"""Which outlines make a reading of a case."""

from renal.data.instances import readings_of


def outlined(folder, *names):
    (folder / "instances").mkdir(parents=True)
    for name in names:
        (folder / "instances" / f"{name}.nii.gz").touch()
    return folder / "imaging.nii.gz"


def named(reading):
    return [(tissue, path.name.removesuffix(".nii.gz")) for tissue, path in reading]


def test_each_reading_has_one_outline_of_each_and_none_is_used_twice(tmp_path):
    kinds = ("kidney_instance-1", "kidney_instance-2", "tumor_instance-1", "cyst_instance-10")
    kinds += ("cyst_instance-2",)
    image = outlined(tmp_path, *(f"{k}_annotation-{n}" for k in kinds for n in (1, 2, 3)), "notes")
    readings = readings_of(image)
    assert [named(reading) for reading in readings] == [
        [
            ("parenchyma", f"kidney_instance-1_annotation-{n}"),
            ("parenchyma", f"kidney_instance-2_annotation-{n}"),
            ("cyst", f"cyst_instance-2_annotation-{n}"),
            ("cyst", f"cyst_instance-10_annotation-{n}"),
            ("tumour", f"tumor_instance-1_annotation-{n}"),
        ]
        for n in (1, 2, 3)
    ]


def test_the_instance_with_the_fewest_outlines_bounds_them(tmp_path):
    kidney = [f"kidney_instance-1_annotation-{n}" for n in (1, 2, 3)]
    image = outlined(
        tmp_path, *kidney, "tumor_instance-1_annotation-3", "tumor_instance-1_annotation-2"
    )
    assert [named(reading)[1][1][-1] for reading in readings_of(image)] == ["2", "3"]


def test_cases_that_were_outlined_once_or_never_have_none(tmp_path):
    assert readings_of(outlined(tmp_path / "a", "kidney_instance-1_annotation-1")) == []
    assert readings_of(outlined(tmp_path / "b")) == []
    assert readings_of(tmp_path / "c/imaging.nii.gz") == []
