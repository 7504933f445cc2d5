"""The CRC-32 of a file, by which records and seals know it."""

from pathlib import Path

from isal import isal_zlib

from renal.errors import InputError

BLOCK = 1 << 20  # bytes: stays in the processor's cache between reading and adding up


def checksum(path: Path) -> str:
    """CRC-32 of a file's content as eight hexadecimal digits.

    Raises
    ------
    InputError
        If it cannot be read, or is a device or a pipe, which may never end.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: no regular file: name another")
    block, found = memoryview(bytearray(BLOCK)), 0
    try:
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(block):
                found = isal_zlib.crc32(block[:count], found)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}): mend its permissions") from error
    return f"{found:08x}"
