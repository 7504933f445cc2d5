"""Files in folders."""

from renal.image.folders import files_in


def test_hidden_ones_and_one_folder_are_left_out(tmp_path):
    for name in ("b/2", "b/1", "a", ".hidden", ".cache/3", "out/4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [str(path.relative_to(tmp_path)) for path in files_in(tmp_path, tmp_path / "out")]
    assert found == ["a", "b/1", "b/2"]
    assert len(list(files_in(tmp_path))) == 4


def test_a_link_that_leads_to_itself_leaves_nothing_out(tmp_path):
    (tmp_path / "a").symlink_to("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/image.nii.gz").touch()
    assert [path.name for path in files_in(tmp_path, tmp_path / "a")] == ["a", "image.nii.gz"]


def test_links_to_folders_are_followed_and_no_folder_is_met_twice(tmp_path):
    (tmp_path / "disk/patient").mkdir(parents=True)
    (tmp_path / "disk/patient/ct").touch()
    (tmp_path / "cts").mkdir()
    for name, target in (("a", "../disk/patient"), ("b", "../disk/patient"), ("c", ".")):
        (tmp_path / "cts" / name).symlink_to(target)
    assert list(files_in(tmp_path / "cts")) == [tmp_path / "cts/a/ct"]
