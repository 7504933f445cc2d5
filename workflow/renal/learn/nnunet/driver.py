"""What `environment` starts: a function is called, what it says passed on, and all ends with it."""

import importlib
import json
import logging
import os
import signal
import sys
from types import FrameType

from renal.cluster.processes import end_with_parent
from renal.errors import InputError, Stopped

# Begins a line that is for people and no output of nnU-Net's own.
SAID = "renal: "
# Exit status of a training that stopped in time, to be continued, and of bad input.
STOPPED, REFUSED = 75, 76

log = logging.getLogger("renal")


def main() -> int:
    """Call a function of this package, such as ``training.train``; returns the exit status.

    Its arguments are JSON. The process leads a group of its own; when it is told to end, as when
    the step is gone, all that it started ends with it.
    """
    leader = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == leader:
            os.killpg(leader, signal.SIGKILL)
        os._exit(128 + number)  # a process that was forked from it

    signal.signal(signal.SIGTERM, end)
    end_with_parent()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"{SAID}%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # libraries of nnU-Net's give the root logger a handler
    module, _, name = sys.argv[1].partition(".")
    try:
        function = getattr(importlib.import_module(f"renal.learn.nnunet.{module}"), name)
        function(**json.loads(sys.argv[2]))
    except Stopped as stop:
        print(stop)
        return STOPPED
    except InputError as error:
        print(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
