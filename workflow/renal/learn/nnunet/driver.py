"""What all programs in nnU-Net's environment share: how they are called, speak and end."""

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from renal.cluster.processes import end_with_parent

# Begins a line that is for people and no output of nnU-Net's own.
SAID = "renal: "
# Exit status of a training that stopped in time, to be continued.
STOPPED = 75


def say(text: str) -> None:
    """Say a line to whoever runs the step."""
    print(f"{SAID}{text}", flush=True)


def main(function: Callable[..., Any]) -> None:
    """Call a function with the arguments of the command line, which are JSON.

    The process leads a group of its own; when it is told to end, as when the step is gone, all that
    it started ends with it.
    """
    leader = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == leader:
            os.killpg(leader, signal.SIGKILL)
        os._exit(128 + number)  # a process that was forked from it

    signal.signal(signal.SIGTERM, end)
    end_with_parent()
    function(**json.loads(sys.argv[1]))
