"""A Python that has loaded its libraries: its processes are forked from one that has them.

A step of the workflow takes two to three seconds of a small run, nearly all of which loads torch,
SimpleITK and their like, and Snakemake itself takes more than one. `preloaded_python` is a program
that is called as Python is, with `-m <module>`, by tests that do not ask how a program starts. It
loads nothing of the package that is tested: each project brings a copy of its own.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

LIBRARIES = (
    "snakemake.cli",
    "torch",
    "safetensors.torch",
    "SimpleITK",
    "nibabel",
    "pandas",
    "scipy.ndimage",
    "scipy.stats",
    "matplotlib.pyplot",
)
ENDED_BY_A_SIGNAL = 128

# Hands its arguments, folder, variables and streams to the server, and ends as the module does.
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b" "], [0, 1, 2])
called = {{"program": sys.argv[0], "arguments": sys.argv[2:], "folder": os.getcwd()}}
server.sendall(json.dumps(called | {{"variables": dict(os.environ)}}).encode() + b"\\n")
status = server.recv(1)
sys.exit(status[0] if status else {ended_by_a_signal})
"""


@functools.cache
def preloaded_python() -> str:
    """Path of the program; its server ends with this process."""
    if "COVERAGE_PROCESS_CONFIG" in os.environ:  # which does not follow forks
        return sys.executable
    folder = tempfile.TemporaryDirectory(prefix="python-")
    atexit.register(folder.cleanup)
    address, program = (str(Path(folder.name, name)) for name in ("socket", "python"))
    text = CLIENT.format(
        python=sys.executable, address=address, ended_by_a_signal=ENDED_BY_A_SIGNAL
    )
    Path(program).write_text(text)
    Path(program).chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        env={name: v for name, v in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout.readline() == b"ready\n"
    return program


def serve(address: str) -> None:
    """Fork a process for each call, until standard input is closed."""
    gc.disable()  # nothing that is loaded is garbage
    for name in LIBRARIES:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run_module(connection)
        connection.close()


def run_module(connection: socket.socket) -> None:
    """Become the program that was called; does not return."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    called = json.loads(connection.makefile("rb").readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(called["folder"])
    os.environ.clear()
    os.environ.update(called["variables"])
    own = [] if "PYTHONSAFEPATH" in os.environ else [called["folder"]]
    package = os.environ.get("PYTHONPATH")
    sys.path[:1] = [*own, *(package.split(os.pathsep) if package else [])]
    sys.executable, sys.argv = called["program"], called["arguments"]
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    status = status_of(sys.argv[0])
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the program that was called ends before this
    connection.send(bytes([status]))
    os._exit(status)


def status_of(module: str) -> int:
    """Run a module as a program; its exit status."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end_with(connection: socket.socket) -> None:
    """End this process once the program that was called is gone."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(sys.argv[1])
