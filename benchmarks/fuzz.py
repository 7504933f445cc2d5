"""Damaged NIfTI files put through the reader: what ends as anything but one line is counted.

python benchmarks/fuzz.py [--times 200000] [--seed 0]

Each time some bytes of a sound file's header are altered, or of its gzip stream, or it is cut off,
and it is read as a CT or as a label map. A file that is still sound enough may be read.
"""

import argparse
import gzip
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from renal.errors import InputError
from renal.image.volume import read_header, read_label, read_padded, write_nifti

MAXIMUM_VOXELS = 1_000_000
HEADER_BYTES = 352
INTERESTING = (0, 1, 2, 3, 4, 8, 16, 64, 127, 128, 255)


def sound_files(folder: Path) -> list[bytes]:
    """Small volumes of several types, uncompressed."""
    draw = np.random.default_rng(0)
    files = []
    for kind in (np.uint8, np.int16, np.float32, np.float64):
        path = folder / "sound.nii.gz"
        array = draw.integers(0, 3, (6, 7, 8)).astype(kind)
        write_nifti(path, array, np.diag([-0.8, -0.8, -3.0, 1.0]))
        files.append(gzip.decompress(path.read_bytes()))
    return files


def altered(content: bytes, below: int, draw: random.Random) -> bytes:
    """Some bytes among the first `below` replaced."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        value = draw.choice(INTERESTING) if draw.random() < 0.5 else draw.randrange(256)
        changed[draw.randrange(min(below, len(changed)))] = value
    return bytes(changed)


def damaged(files: list[bytes], draw: random.Random) -> tuple[str, bytes]:
    """A name, plain or compressed, and what is in the file."""
    content = draw.choice(files)
    where = draw.choice(("header", "stream", "end"))
    if where == "header":
        content = altered(content, HEADER_BYTES, draw)
    packed = draw.random() < 0.5 or where == "stream"
    if packed:
        content = gzip.compress(content, compresslevel=1, mtime=0)
    if where == "stream":
        content = altered(content, len(content), draw)
    if where == "end":
        content = content[: draw.randrange(len(content))]
    return "case.nii.gz" if packed else "case.nii", content


def main() -> None:
    parser = argparse.ArgumentParser(description="Damaged NIfTI files put through the reader.")
    parser.add_argument("--times", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    warnings.simplefilter("error")
    draw = random.Random(a.seed)
    ended, escaped = Counter[str](), Counter[str]()
    started, slowest = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = sound_files(folder)
        for _ in range(a.times):
            name, content = damaged(files, draw)
            path = folder / name
            path.write_bytes(content)
            read = draw.choice((read_padded, read_label))
            before = time.monotonic()
            try:
                read(read_header(path, MAXIMUM_VOXELS))
                ended["read"] += 1
            except InputError as error:
                one_line = "\n" not in str(error) and str(error).startswith(str(path))
                ended["refused in one line" if one_line else "refused otherwise"] += 1
                if not one_line:
                    escaped[str(error)[:200]] += 1
            except (Exception, Warning) as error:  # what is looked for
                ended["escaped"] += 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                escaped[
                    f"{type(error).__name__} at {place.name}:{place.lineno}: {error}"[:200]
                ] += 1
            slowest = max(slowest, time.monotonic() - before)
    print(f"{a.times} files in {time.monotonic() - started:.0f} s, slowest {slowest:.2f} s")
    for told, count in [*ended.items(), *escaped.most_common(20)]:
        print(f"{count:8d}  {told}")
    sys.exit(bool(escaped))


if __name__ == "__main__":
    main()
