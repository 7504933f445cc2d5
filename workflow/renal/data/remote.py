"""What the official places have of KiTS19 and KiTS23: files, their sizes and their hashes.

Labels lie in the challenges' own repositories on GitHub, images, for both challenges the same, in
one on Hugging Face. Both list their files with size and hash, so that all of it is known before
anything is fetched.

References
----------
https://github.com/neheller/kits19, https://github.com/neheller/kits23 (labels)
https://huggingface.co/datasets/neheller/KiTS-Challenge-Imaging (images)
https://docs.github.com/rest/git/trees, https://huggingface.co/docs/hub/api (how they are listed)
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import requests

from renal.data.cases import IMAGE, LABEL
from renal.data.instances import INSTANCES
from renal.data.transfer import RemoteFile, Unreachable, answer_of
from renal.errors import InputError

Part = Literal["images", "labels", "instances"]
PARTS: tuple[Part, ...] = ("images", "labels", "instances")
LICENCE = "CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0)"
NUMBERED = re.compile(r"case_(\d{5})")


@dataclass(frozen=True)
class Servers:
    """Where the official places are."""

    github: str = "https://api.github.com"
    github_files: str = "https://raw.githubusercontent.com"
    hub: str = "https://huggingface.co"


@dataclass(frozen=True)
class Challenge:
    """Where a challenge's labels lie, and which cases it has.

    Attributes
    ----------
    repository, branch, folder : str
        On GitHub.
    cases : range
        Numbers of its cases; not all of them need to be there.
    """

    repository: str
    branch: str
    folder: str
    cases: range


IMAGES = "neheller/KiTS-Challenge-Imaging"
CHALLENGES = {
    "kits19": Challenge("neheller/kits19", "master", "data", range(300)),
    "kits23": Challenge("neheller/kits23", "main", "dataset", range(589)),
}


def remote_files(
    session: requests.Session, name: str, parts: Iterable[Part], servers: Servers
) -> list[RemoteFile]:
    """All files of some parts of a challenge, in order of path.

    Parameters
    ----------
    session : requests.Session
        From `renal.data.transfer.new_session`.
    name : str
        Of `CHALLENGES`.
    parts : iterable of str
        Of `PARTS`. With labels come the lists that lie beside the cases, such as kits.json.
    servers : Servers
        The official places, or what stands for them.

    Raises
    ------
    InputError
        If a place cannot be reached or does not list its files as it is known to.
    """
    challenge, parts = CHALLENGES[name], set(parts)
    found: list[RemoteFile] = []
    if "images" in parts:
        found += _images(session, servers)
    if parts & {"labels", "instances"}:
        found += _labels(session, challenge, parts, servers)
    kept = [file for file in found if file.case is None or file.case in challenge.cases]
    return sorted(kept, key=lambda file: file.path)


def _images(session: requests.Session, servers: Servers) -> Iterator[RemoteFile]:
    url = f"{servers.hub}/api/datasets/{IMAGES}/tree/main/images"
    while url:
        answer = answer_of(session, url)
        for entry in _listed(answer, "path", "size", "oid"):
            case = PurePosixPath(entry["path"]).name.removesuffix(".nii.gz")
            if named := NUMBERED.fullmatch(case):
                # Large files are kept outside of git, which then has the hash of a pointer alone.
                stored = entry.get("lfs")
                yield RemoteFile(
                    f"{servers.hub}/datasets/{IMAGES}/resolve/main/{entry['path']}",
                    f"{case}/{IMAGE}",
                    entry["size"],
                    ("sha256", stored["oid"]) if stored else ("git", entry["oid"]),
                    "images",
                    int(named[1]),
                )
        url = answer.links.get("next", {}).get("url", "")


def _labels(
    session: requests.Session, challenge: Challenge, parts: set[Part], servers: Servers
) -> Iterator[RemoteFile]:
    tree = f"repos/{challenge.repository}/git/trees/{challenge.branch}?recursive=1"
    answer = answer_of(session, f"{servers.github}/{tree}")
    files = f"{servers.github_files}/{challenge.repository}/{challenge.branch}"
    for entry in _listed(answer, "path", "sha", within="tree"):
        path = PurePosixPath(entry["path"])
        if entry.get("type") == "blob" and path.is_relative_to(challenge.folder):
            own = path.relative_to(challenge.folder)
            part, named = _part_of(own), NUMBERED.fullmatch(own.parts[0])
            if part is not None and part in parts:
                yield RemoteFile(
                    f"{files}/{entry['path']}",
                    str(own),
                    entry["size"],
                    ("git", entry["sha"]),
                    part,
                    int(named[1]) if named else None,
                )


def _part_of(path: PurePosixPath) -> Part | None:
    """What a file of a repository of labels is, by its path in the folder of cases."""
    case, *inner = path.parts
    if not NUMBERED.fullmatch(case):
        return "labels" if not inner and path.suffix == ".json" else None
    if inner == [LABEL]:
        return "labels"
    return "instances" if path.match(f"*/{INSTANCES}/*.nii.gz") else None


def _listed(answer: requests.Response, *keys: str, within: str = "") -> list[dict[str, Any]]:
    """What a server lists; an InputError if that is no whole list of files with these keys."""
    try:
        listed = answer.json()
        if within and listed.get("truncated"):
            raise ValueError("the list is cut off")
        listed = listed[within] if within else listed
        for entry in listed:
            if missing := [key for key in keys if key not in entry]:
                raise ValueError(f"an entry has no {missing[0]}")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"{answer.url}: no list of files as it is known ({error}): look at the address in a "
            "browser; if another service answers, mend the proxy"
        ) from error
    except requests.RequestException as error:
        raise Unreachable(
            f"{answer.url}: the list was cut off ({type(error).__name__}): look at the network or "
            "the proxy, then run it again"
        ) from error
    return list(listed)
