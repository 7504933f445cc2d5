"""What the official places list, and lists that are none."""

import json

import pytest

from renal.data.remote import remote_files
from renal.data.transfer import Unreachable, new_session
from renal.errors import InputError

PARTS = ["images", "labels", "instances"]


def listed(official, name="kits19", parts=PARTS):
    with new_session() as session:
        return remote_files(session, name, parts, official.servers)


def test_images_of_every_page_and_labels_with_the_hash_of_each(official, shared_kits19):
    official.publish("kits19", shared_kits19)
    files = listed(official)
    paths = [file.path for file in files]
    cases = [f"case_0000{number}" for number in range(4)]
    assert [path for path in paths if "imaging" in path] == [f"{c}/imaging.nii.gz" for c in cases]
    assert {file.digest[0] for file in files if "imaging" in file.path} == {"sha256"}
    assert {file.digest[0] for file in files if "segmentation" in file.path} == {"git"}
    assert [file.case for file in files if "imaging" in file.path] == [0, 1, 2, 3]
    for file in files:
        assert file.size == (shared_kits19 / file.path).stat().st_size
        # The address is where the server really has it.
        assert file.url.removeprefix(official.servers.hub) in official.files


def test_kits19_has_no_later_cases_and_nothing_else_of_a_repository(official, tmp_path):
    for name in ("case_00000", "case_00400", "case_1", "other"):
        (tmp_path / name).mkdir()
        for file in ("imaging.nii.gz", "segmentation.nii.gz", "notes.txt"):
            (tmp_path / name / file).write_text(name)
    for challenge in ("kits19", "kits23"):
        official.publish(challenge, tmp_path)
    images, labels = "imaging.nii.gz", "segmentation.nii.gz"
    both = [f"case_00000/{images}", f"case_00000/{labels}"]
    assert [file.path for file in listed(official)] == both
    later = [f"case_00400/{images}", f"case_00400/{labels}"]
    assert [file.path for file in listed(official, "kits23")] == [*both, *later]


def test_a_small_image_that_lies_in_git_itself(official, shared_kits19):
    official.publish("kits19", shared_kits19)
    pages = official.path_of("/tree/main/images")
    entries = json.loads(official.files[pages])
    for entry in entries:
        del entry["lfs"]
    official.files[pages] = json.dumps(entries).encode()
    assert listed(official, parts=["images"])[0].digest == ("git", "0" * 40)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Sign in to the hospital's network</html>",
        b"null",
        b"[]",
        b"{}",
        b'{"tree": [], "truncated": true}',
        b'{"tree": [{"path": "data/case_00000/segmentation.nii.gz"}]}',
        b'{"tree": [3]}',
    ],
)
def test_a_list_that_is_none(official, shared_kits19, answer):
    official.publish("kits19", shared_kits19)
    official.files[official.path_of("?recursive=1")] = answer
    with pytest.raises(InputError, match=r"recursive=1: no list of files as it is known") as fault:
        listed(official, parts=["labels"])
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(("end", "part"), [("/tree/main/images", "images"), ("=1", "labels")])
def test_a_list_that_is_cut_off_on_its_way_is_named(official, shared_kits19, end, part):
    official.publish("kits19", shared_kits19)
    official.fail(end, lambda handler, content: handler.reply(200, content[:9], len(content)))
    with pytest.raises(
        Unreachable, match=r"^http\S+: the list was cut off \(\w+\): look at"
    ) as told:
        listed(official, parts=[part])
    assert str(told.value).startswith(official.servers.hub + official.path_of(end))
