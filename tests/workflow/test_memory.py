"""What the rules have glibc do with freed memory."""

import os
import re
import subprocess
import sys

import pytest

from .conftest import REPOSITORY

VARIABLE = re.compile(r"(MALLOC_\w+)=(\d+)")
# Blocks of the size that one layer has in a training at full size, in float32.
PROGRAM = """
import resource, torch
def block():
    return torch.zeros(300 << 20, dtype=torch.uint8)
first, second = block(), block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
del first
third = block()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has them")
def test_a_training_has_no_block_beside_a_freed_one_of_its_size():
    rule = (REPOSITORY / "rules/learn.smk").read_text().split("rule train:")[1]
    shell = rule.split("shell:")[1].splitlines()[1]
    variables = dict(VARIABLE.findall(shell))
    assert len(variables) == 2
    grown = subprocess.check_output([sys.executable, "-c", PROGRAM], env=os.environ | variables)
    assert float(grown) < 30  # MB, of 300
