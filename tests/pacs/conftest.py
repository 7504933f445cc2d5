"""An Orthanc of its own for the tests."""

import subprocess
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("orthanc.sh")


@pytest.fixture(scope="session")
def orthanc():
    """Address of the DICOMweb service of an empty archive."""
    with tempfile.TemporaryDirectory(prefix="orthanc-") as name:
        try:
            up = run_script("up", name)
            if up.returncode:
                reason = up.stderr.strip()[-300:] or f"exit status {up.returncode}"
                pytest.skip(f"Orthanc cannot be had here: {reason}")
            yield up.stdout.strip()
        finally:
            run_script("down", name).check_returncode()


def run_script(command: str, folder: str) -> subprocess.CompletedProcess:
    # The daemon must not hold the pipes open that are read here to their end.
    limited = ["timeout", "--kill-after=10", "300", "bash", SCRIPT, command, folder]
    out, err = Path(folder, "out"), Path(folder, "err")
    with out.open("w") as stdout, err.open("w") as stderr:
        done = subprocess.run(limited, stdout=stdout, stderr=stderr, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, out.read_text(), err.read_text())
