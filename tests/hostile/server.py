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
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.004  # between two looks at a child
WEIGH_SECONDS = 0.05  # between two looks at its memory
PATIENCE = 5  # times as long may it take where other programs have the processors
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")

_ENDING = 20.0  # seconds; longer on a machine that is idle is long on a busy one too


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
    from ocrslim.utils.paddle_setup import import_paddle

    if Path(ocrslim.cli.__file__).resolve().parents[2] != Path(root).resolve():
        raise SystemExit(f"{root}: the package comes from {ocrslim.cli.__file__}")
    import_paddle()
    for name in (
        "google.protobuf.message",
        "onnx",
        "skimage",
        "ocrslim.evaluation.predict",
        "ocrslim.commands.prune",
        "ocrslim.sensitivity.run",
    ):
        importlib.import_module(name)
    from ocrslim.ppocr import imaug  # noqa: F401

    return ocrslim.cli.main


def _serve(run: Any, request: dict[str, Any]) -> dict[str, Any]:
    watch = Watch(request["seconds"], request["bytes"])
    child = os.fork()
    if child == 0:
        os.setsid()
        _be_the_child(run, request)
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid or watch.exceeded(child):
            break
        time.sleep(LOOK_SECONDS)
    if not pid:
        _kill(child)
        _, status, usage = os.wait4(child, 0)
    return {
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "seconds": round(time.monotonic() - watch.start, 3),
        "bytes": max(watch.bytes, usage.ru_maxrss * 1024),
        "killed": watch.verdict,
        "left_running": 0 if watch.verdict else _end_the_rest(child),
    }


class Watch:
    """What a command has used: memory, processor time, and time in which all of it slept."""

    def __init__(self, seconds: float, most: int):
        self.start = self._looked = time.monotonic()
        self.bytes = 0
        self.verdict: str | None = None
        self._seconds, self._most, self._busy, self._asleep = seconds, most, 0.0, 0.0

    def exceeded(self, leader: int) -> bool:
        """Whether it is too much: then `verdict` says of what. On a busy machine, only waiting for it costs nothing."""
        now = time.monotonic()
        if now - self._looked < WEIGH_SECONDS:
            return False
        members = _session(leader)
        self.bytes = max(self.bytes, sum(_resident(pid) for pid in members))
        self._busy = max(self._busy, sum(seconds for _, seconds in members.values()))
        self._asleep += (now - self._looked) * all(state == "S" for state, _ in members.values())
        self._looked = now
        if self.bytes > self._most:
            self.verdict = "memory"
        elif max(self._busy, self._asleep) > self._seconds or now - self.start > self._seconds * PATIENCE:
            self.verdict = "hang"
        return self.verdict is not None


def _be_the_child(run: Any, request: dict[str, Any]) -> None:
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    tempfile.tempdir = None
    for handle, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        flags = os.O_RDONLY if handle == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o644), handle)
    if request["machine"]:
        resource.setrlimit(resource.RLIMIT_AS, (request["machine"], request["machine"]))
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


def _session(leader: int) -> dict[int, tuple[str, float]]:
    """The processes of a child's session, itself and what it started: state, seconds of processor time."""
    found = {}
    for folder in Path("/proc").iterdir():
        name = folder.name
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    found[int(name)] = fields[0], sum(map(int, fields[11:15])) / TICKS
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
    """How many processes a child left running for long after its own end."""
    deadline = time.monotonic() + _ENDING
    while time.monotonic() < deadline and _session(leader):
        time.sleep(0.02)
    left = _session(leader)
    _kill(leader)
    return len(left)


if __name__ == "__main__":
    main(sys.argv[1])
