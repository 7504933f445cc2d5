"""Cases: found by name, with their files."""

import os
from pathlib import Path

import pytest

from renal.data.cases import (
    IMAGE,
    LABEL,
    Case,
    description_of,
    find_cases,
    find_labels,
    stand_in_cases,
)
from renal.errors import InputError


def make_case(root, name, labelled=True):
    (root / name).mkdir(parents=True)
    (root / name / IMAGE).touch()
    if labelled:
        (root / name / LABEL).touch()


def names(cases):
    return [case.name for case in cases]


# -- finding ------------------------------------------------------------------------------------


def test_cases_are_found_with_whether_they_are_labelled(tmp_path):
    make_case(tmp_path, "case_00002", labelled=False)
    make_case(tmp_path, "case_00001")
    make_case(tmp_path, "case_b7")
    (tmp_path / "case_00003").mkdir()  # validation tells that it has no image
    (tmp_path / "kits.json").touch()
    found = find_cases(tmp_path)
    assert {case.name: case.labelled for case in found} == {
        "case_00001": True,
        "case_00002": False,
        "case_00003": False,
        "case_b7": True,
    }
    assert names(found) == sorted(names(found))


def test_excluded_cases_are_left_out(tmp_path):
    for number in range(3):
        make_case(tmp_path, f"case_0000{number}")
    assert names(find_cases(tmp_path, ["case_00001"])) == ["case_00000", "case_00002"]
    with pytest.raises(InputError, match=r"data\.exclude names case_00007, case_x"):
        find_cases(tmp_path, ["case_x", "case_00001", "case_00007"])


def test_a_missing_folder_tells_where_the_data_go_and_that_there_is_a_demo(tmp_path):
    with pytest.raises(InputError) as told:
        find_cases(tmp_path / "kits19")
    message = str(told.value)
    assert f"{tmp_path}/kits19/case_00000/imaging.nii.gz" in message
    assert "make demo" in message and "data.root" in message and "\n" not in message


def test_a_folder_without_cases(tmp_path):
    with pytest.raises(InputError, match="no cases"):
        find_cases(tmp_path)


def test_files_of_a_case_are_those_that_are_there(tmp_path):
    make_case(tmp_path, "case_00000")
    make_case(tmp_path, "case_00001", labelled=False)
    (tmp_path / "case_00002").mkdir()
    (tmp_path / "case_00002" / LABEL).touch()
    labelled, unlabelled, without_image = find_cases(tmp_path)
    image, label = (tmp_path / "case_00000" / file for file in (IMAGE, LABEL))
    assert labelled == Case("case_00000", image, label) and labelled.files == {
        "image": image,
        "label": label,
    }
    image = tmp_path / "case_00001" / IMAGE
    assert unlabelled == Case("case_00001", image) and unlabelled.files == {"image": image}
    assert without_image.image == tmp_path / "case_00002" / IMAGE
    label = tmp_path / "case_00002" / LABEL
    assert without_image.labelled and without_image.files == {"label": label}


def test_cases_that_stand_in_are_one_a_fold_and_an_unlabelled_one(tmp_path):
    *labelled, unlabelled = stand_in_cases(tmp_path, 3)
    assert names(labelled) == ["case_00000", "case_00001", "case_00002"]
    assert all(case.labelled for case in labelled)
    assert unlabelled == Case("case_00003", tmp_path / "case_00003" / IMAGE)
    assert all(case.files == {} for case in (*labelled, unlabelled))


def test_a_label_that_is_a_broken_link_is_a_label(tmp_path):
    make_case(tmp_path, "case_00000", labelled=False)
    label = tmp_path / "case_00000" / LABEL
    label.symlink_to(tmp_path / "not mounted" / LABEL)
    (case,) = find_cases(tmp_path)
    assert case.label == label and case.files == {"image": case.image}


def test_a_case_whose_folder_is_a_broken_link_is_a_case(tmp_path):
    make_case(tmp_path, "case_00000")
    (tmp_path / "case_00001").symlink_to(tmp_path / "not mounted")
    assert names(find_cases(tmp_path)) == ["case_00000", "case_00001"]


def test_a_label_that_is_not_compressed_is_told(tmp_path):
    make_case(tmp_path, "case_00000", labelled=False)
    plain = tmp_path / "case_00000" / "segmentation.nii"
    plain.touch()
    with pytest.raises(
        InputError, match=r"segmentation\.nii\.gz is looked for: compress it"
    ) as told:
        find_cases(tmp_path)
    assert str(told.value).startswith(f"{plain}: ") and "\n" not in str(told.value)
    (plain.parent / LABEL).touch()
    assert find_cases(tmp_path)[0].labelled


def test_an_image_that_is_not_compressed_is_told(tmp_path):
    make_case(tmp_path, "case_00000")
    touch(tmp_path, "patient_7/imaging.nii")
    with pytest.raises(InputError, match="'patient_7': no case, beside those that are"):
        find_cases(tmp_path)
    (tmp_path / "patient_7").rename(tmp_path / "case_00007")
    with pytest.raises(InputError, match=r"imaging\.nii\.gz is looked for: compress it") as told:
        find_cases(tmp_path)
    assert str(told.value).startswith(f"{tmp_path}/case_00007/imaging.nii: ")
    touch(tmp_path, f"case_00007/{IMAGE}")
    assert names(find_cases(tmp_path)) == ["case_00000", "case_00007"]


@pytest.mark.parametrize("name", ["ct.nii.gz", "case_00001.nii.gz", "ct.nii"])
@pytest.mark.parametrize("layout", ["kits", "nnunet"])
def test_an_image_beside_the_folders_of_cases_is_told(tmp_path, layout, name):
    if layout == "kits":
        make_case(tmp_path, "case_00000")
    else:
        touch(tmp_path, "imagesTs/case_00000_0000.nii.gz")
    touch(tmp_path, ".hidden.nii.gz", "notes.txt")
    assert names(find_cases(tmp_path)) == ["case_00000"]
    touch(tmp_path, name)
    with pytest.raises(InputError, match=f"'{name}': no case, beside") as told:
        find_cases(tmp_path)
    assert "data.exclude" in str(told.value) and "\n" not in str(told.value)
    assert names(find_cases(tmp_path, [name])) == ["case_00000"]


@pytest.mark.parametrize(
    "name", ["x.nii", "imagesTs/case_00001_0000.nii", "labelsTs/case_00000.nii"]
)
def test_files_that_are_not_compressed_among_those_that_are_are_told(tmp_path, name):
    touch(tmp_path, "imagesTs/case_00000_0000.nii.gz" if "/" in name else "case_00000.nii.gz", name)
    with pytest.raises(InputError, match=r"\.nii\.gz is looked for: compress it") as told:
        find_cases(tmp_path)
    assert str(told.value).startswith(f"{tmp_path / name}: ")


NO_CASES = [
    "patient_7",
    "Case_0",
    "xcase_0",
    "case_",
    "case_0 1",
    "case_0\n",
    "case_$(x)",
    "case_0;x",
]


@pytest.mark.parametrize("inside", [IMAGE, LABEL, "case_1/imaging.nii.gz", "ct.nii.gz", None])
@pytest.mark.parametrize("name", NO_CASES)
def test_a_folder_that_is_no_case_is_told(tmp_path, name, inside):
    make_case(tmp_path, "case_00000")
    make_case(tmp_path, ".trash")
    touch(tmp_path, "README.md", "LICENSE", "kits.json")
    assert names(find_cases(tmp_path)) == ["case_00000"]
    touch(tmp_path, f"{name}/{inside}") if inside else (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no case, beside those that are") as told:
        find_cases(tmp_path)
    message = str(told.value)
    assert repr(name) in message and "data.exclude" in message and "\n" not in message
    assert names(find_cases(tmp_path, [name])) == ["case_00000"]


@pytest.mark.parametrize("cases", [["case_1"], ["p1", "p2"]])
@pytest.mark.parametrize("other", ["p3", "patient7", "ct.mha", "ct.NRRD"])
def test_a_broken_link_or_an_image_of_another_format_is_told(tmp_path, cases, other):
    for name in cases:
        make_case(tmp_path, name)
    (tmp_path / other).symlink_to("not mounted")
    with pytest.raises(InputError, match=f"'{other}': no case, beside those that are"):
        find_cases(tmp_path)


@pytest.mark.parametrize("other", ["imagesTr/c_0000.mha", "labelsTr/c.nrrd", "imagesTs/x/y.nii.gz"])
def test_nothing_among_images_of_nnunet_is_left_out(nnunet, other):
    touch(nnunet, "imagesTr/notes.txt", "labelsTr_first/kid_1.nii.gz")
    assert len(find_cases(nnunet)) == 3
    touch(nnunet, other)
    with pytest.raises(InputError, match="no case, beside those that are") as told:
        find_cases(nnunet)
    assert str(told.value).startswith(f"{nnunet / other.partition('/')[0]}: ")


@pytest.mark.parametrize("closed", ["data", "data/case_00000/segmentation.nii.gz"])
def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch, closed):
    make_case(tmp_path / "data", "case_00000")
    for function in ("lstat", "iterdir"):
        plain = getattr(Path, function)

        def refuse(path, plain=plain):
            if path == tmp_path / closed:
                raise PermissionError(13, "Permission denied", str(path))
            return plain(path)

        monkeypatch.setattr(Path, function, refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)") as told:
        find_cases(tmp_path / "data")
    assert str(told.value).startswith(f"{tmp_path / closed}: ") and "\n" not in str(told.value)


# -- layouts ------------------------------------------------------------------------------------


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def as_text(root, cases):
    """Case to its files within the folder, and whether it is a test."""
    return {
        c.name: (
            os.path.relpath(c.image, root),
            c.label and os.path.relpath(c.label, root),
            c.test,
        )
        for c in cases
    }


def test_folders_of_other_names_are_cases_where_none_is_named_as_kits_has_it(tmp_path):
    make_case(tmp_path, "patient 7")
    make_case(tmp_path, "0042", labelled=False)
    make_case(tmp_path, "nan", labelled=False)
    touch(tmp_path, "read me.txt")
    assert as_text(tmp_path, find_cases(tmp_path)) == {
        "case_0042": (f"0042/{IMAGE}", None, False),
        "case_nan": (f"nan/{IMAGE}", None, False),
        "patient_7": (f"patient 7/{IMAGE}", f"patient 7/{LABEL}", False),
    }


def test_labels_of_kits21_are_found_and_two_labels_are_told(tmp_path):
    make_case(tmp_path, "case_00000", labelled=False)
    touch(tmp_path, "case_00000/aggregated_MAJ_seg.nii.gz", "case_00000/aggregated_OR_seg.nii.gz")
    (case,) = find_cases(tmp_path)
    assert case.label.name == "aggregated_MAJ_seg.nii.gz"
    touch(tmp_path, f"case_00000/{LABEL}")
    with pytest.raises(InputError, match="take one away"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "segmentation.mha",
        "Segmentation.nii.gz",
        "segmentation (1).nii.gz",
        "segmentation.nii.gz.part",
        "label.nii.gz",
        "aggregated_OR_seg.nii.gz",
    ],
)
def test_what_may_be_a_label_by_another_name_is_refused(tmp_path, name):
    touch(tmp_path, "case_00000/imaging.nii.gz", f"case_00000/{name}", "case_00001/imaging.nii.gz")
    with pytest.raises(InputError, match="no label by its name") as told:
        find_cases(tmp_path)
    assert repr(name) in str(told.value) and "\n" not in str(told.value)
    touch(tmp_path, "case_00000/segmentation.nii.gz")
    assert [case.labelled for case in find_cases(tmp_path)] == [True, False]


def test_a_file_that_is_named_as_a_case_is_refused(tmp_path):
    """A link of a git repository, checked out where there are no links."""
    touch(tmp_path, "case_00000/imaging.nii.gz", "case_00001")
    with pytest.raises(InputError, match="'case_00001': no case"):
        find_cases(tmp_path)


@pytest.fixture
def nnunet(tmp_path):
    touch(tmp_path, "imagesTr/kid_1_0000.nii.gz", "labelsTr/kid_1.nii.gz")
    touch(tmp_path, "imagesTs/kid_2_0000.nii.gz", "imagesTs/kid_3_0000.nii.gz")
    touch(tmp_path, "labelsTs/kid_3.nii.gz")
    (tmp_path / "dataset.json").write_text(
        '{"file_ending": ".nii.gz", "channel_names": {"0": "CT"}}'
    )
    return tmp_path


def test_raw_data_of_nnunet_are_found(nnunet):
    assert as_text(nnunet, find_cases(nnunet)) == {
        "kid_1": ("imagesTr/kid_1_0000.nii.gz", "labelsTr/kid_1.nii.gz", False),
        "kid_2": ("imagesTs/kid_2_0000.nii.gz", None, False),
        "kid_3": ("imagesTs/kid_3_0000.nii.gz", "labelsTs/kid_3.nii.gz", True),
    }
    touch(nnunet, "labelsTr/kid_4.nii.gz")  # validation tells that its image is not there
    assert find_cases(nnunet)[-1].files == {"label": nnunet / "labelsTr/kid_4.nii.gz"}


def test_raw_data_of_nnunet_with_labels_are_described(nnunet, tmp_path):
    cases = find_cases(nnunet)
    assert description_of(nnunet, cases) == nnunet / "dataset.json"
    assert description_of(nnunet, [case for case in cases if not case.labelled]) is None
    touch(tmp_path / "kits", "case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz")
    assert description_of(tmp_path / "kits", find_cases(tmp_path / "kits")) is None


@pytest.mark.parametrize(
    ("path", "text", "about"),
    [
        ("imagesTr/kid_5_0000.nii.gz", "", "labelsTr: no label of kid_5"),
        ("imagesTr/kid_1_0001.nii.gz", "", "with one channel"),
        ("imagesTr/kid_1.nii.gz", "", "with one channel"),
        ("imagesTs/kid_1_0000.nii.gz", "", "would both be case kid_1"),
        ("dataset.json", '{"file_ending": ".nrrd"}', "file_ending is .nrrd"),
        ("dataset.json", '{"channel_names": {"0": "CT", "1": "PET"}}', "2 channels"),
        ("dataset.json", "[", "cannot be read"),
        ("cases.csv", "image\n", "laid out as nnunet and as table: name one as data.layout"),
        ("case_00000/imaging.nii.gz", "", "laid out as kits and as nnunet"),
    ],
)
def test_raw_data_of_nnunet_that_are_not_whole_are_refused(nnunet, path, text, about):
    touch(nnunet, path)
    (nnunet / path).write_text(text)
    with pytest.raises(InputError, match=about) as told:
        find_cases(nnunet)
    assert "\n" not in str(told.value)


def test_the_layout_can_be_named(nnunet):
    (nnunet / "cases.csv").write_text("image\nimagesTr/kid_1_0000.nii.gz\n")
    assert names(find_cases(nnunet, layout="table")) == ["kid_1_0000"]
    assert names(find_cases(nnunet, layout="nnunet")) == ["kid_1", "kid_2", "kid_3"]


def test_images_in_one_folder_are_only_to_be_segmented(tmp_path):
    touch(tmp_path, "a b.nii.gz", "7.nii.gz", "list.txt", ".hidden.nii.gz")
    assert as_text(tmp_path, find_cases(tmp_path)) == {
        "a_b": ("a b.nii.gz", None, False),
        "case_7": ("7.nii.gz", None, False),
    }
    touch(tmp_path, "a+b.nii.gz")
    with pytest.raises(InputError, match=r"a b.nii.gz and a\+b.nii.gz would both be case a_b|a_b"):
        find_cases(tmp_path)


def test_a_table_lists_images_and_labels(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    rows = [
        "case,age,image,label",
        ",64,ct/x.nii.gz,seg/x.nii.gz",
        f"Jane,7,{tmp_path}/other/imaging.nii.gz,",
        "",
    ]
    (root / "cases.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    assert as_text(root, find_cases(root)) == {
        "Jane": ("../other/imaging.nii.gz", None, False),
        "x": ("ct/x.nii.gz", "seg/x.nii.gz", False),
    }


def test_a_file_elsewhere_is_found_from_a_folder_that_is_a_link(tmp_path):
    (tmp_path / "deep/er/data").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "deep/er/data")
    touch(tmp_path, "x.nii.gz")
    (tmp_path / "data/cases.csv").write_text(f"image\n{tmp_path}/x.nii.gz\n")
    (case,) = find_cases(tmp_path / "data")
    assert case.files and case.image.samefile(tmp_path / "x.nii.gz")


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("file\nx.nii.gz\n", "no column image"),
        ("image,label\n,y.nii.gz\n", "line 2: no image"),
        ("image,label\nx.nii.gz\n", "line 2: other columns"),
        ("image\nx.nii.gz,y.nii.gz\n", "line 2: other columns"),
        ("image\nx.nii.gz\nz/x.nii.gz\n", "would both be case x"),
        ("", "no column image"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(tmp_path, text, about):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(InputError, match=about) as told:
        find_cases(tmp_path)
    assert "\n" not in str(told.value)


# -- labels alone ---------------------------------------------------------------------------------


def test_labels_of_a_data_set_and_of_a_flat_folder(tmp_path):
    make_case(tmp_path / "kits", "case_1")
    make_case(tmp_path / "kits", "case_2", labelled=False)
    assert find_labels(tmp_path / "kits") == {"case_1": tmp_path / "kits/case_1" / LABEL}
    (tmp_path / "flat").mkdir()
    for name in ("case_1.nii.gz", "x.nii.gz", "notes.txt"):
        (tmp_path / "flat" / name).touch()
    expected = {name: tmp_path / f"flat/{name}.nii.gz" for name in ("case_1", "x")}
    assert find_labels(tmp_path / "flat") == expected


def test_a_folder_without_labels_is_told(tmp_path):
    make_case(tmp_path, "case_1", labelled=False)
    with pytest.raises(InputError, match="no case has a label: name a folder of labels"):
        find_labels(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_labels(tmp_path / "nowhere")


def test_a_name_that_is_no_utf8_is_told(tmp_path):
    """No table and no log could have it."""
    (tmp_path / os.fsdecode(b"m\xfcller.nii.gz")).touch()
    with pytest.raises(InputError, match="no UTF-8: rename it") as told:
        find_cases(tmp_path)
    str(told.value).encode()
