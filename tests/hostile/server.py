"""The process that runs commands: it imports the code under test once and forks a child for each of them.

Started as `python server.py ROOT`; reads one JSON request a line, answers with one JSON line each. It computes nothing
before a fork and has one thread, so that the children start from a clean state.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.004  # between two looks at a child
WEIGH_SECONDS = 0.05  # between two looks at its memory
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def main(root: str) -> None:
    """Serve requests until standard input ends."""
    sys.path[0] = root  # in place of this folder, whose names are nobody's business
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run = _load(root)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_serve(run, json.loads(line))), file=answers, flush=True)


def _load(root: str) -> Any:
    """Import everything that commands import, so that a child costs milliseconds; return `ocrslim.cli.main`."""
    import ocrslim.cli
    from ocrslim.startup import import_paddle

    if Path(ocrslim.cli.__file__).resolve().parents[1] != Path(root).resolve():
        raise SystemExit(f"{root}: the package comes from {ocrslim.cli.__file__}")
    import_paddle()
    for name in ("google.protobuf.message", "onnx", "skimage", "ocrslim.predict", "ocrslim.prune", "ocrslim.analysis"):
        importlib.import_module(name)
    from ocrslim.ppocr import imaug  # noqa: F401

    return ocrslim.cli.main


def _serve(run: Any, request: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        _be_the_child(run, request)
    killed, most, spent, weighed = None, 0, 0.0, 0.0
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        now = time.monotonic()
        if now - weighed > WEIGH_SECONDS:
            weighed, members = now, _session(child)
            most = max(most, sum(_resident(pid) for pid in members))
            spent = max(spent, sum(members.values()))
        if most > request["bytes"] or spent > request["seconds"] or now - start > request["seconds"] * _share():
            killed = "memory" if most > request["bytes"] else "hang"
            _kill(child)
            pid, status, usage = os.wait4(child, 0)
            break
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - start
    return {
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "seconds": round(seconds, 3),
        "bytes": max(most, usage.ru_maxrss * 1024),
        "killed": killed,
        "left_running": 0 if killed else _end_the_rest(child),
    }


def _be_the_child(run: Any, request: dict[str, Any]) -> None:
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    tempfile.tempdir = None
    for handle, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        flags = os.O_RDONLY if handle == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o644), handle)
    code: Any = 70
    try:
        code = run(request["argv"])
    except SystemExit as end:
        code = end.code
    except BaseException:  # what would end a process of its own with a traceback
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _share() -> float:
    """How many programs share a processor: on a busy machine an innocent command takes so much longer."""
    return min(6.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def _session(leader: int) -> dict[int, float]:
    """The processes of a child's session, itself and what it started, with the seconds of processor time of each."""
    found = {}
    for folder in Path("/proc").iterdir():
        name = folder.name
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    found[int(name)] = sum(map(int, fields[11:15])) / TICKS
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path("/proc", str(pid), "statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _kill(leader: int) -> None:
    for pid in {leader, *_session(leader)}:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _end_the_rest(leader: int) -> int:
    """How many processes a child left running for a second after its own end."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline and _session(leader):
        time.sleep(0.02)
    left = _session(leader)
    _kill(leader)
    return len(left)


if __name__ == "__main__":
    main(sys.argv[1])
