"""The environment that Paddle is imported with."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

from ocrslim.utils import paddle_setup as startup

AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse4_2 avx avx2 bmi2\n"
INTEL = AMD.replace("AuthenticAMD", "GenuineIntel")
OLD = AMD.replace(" avx2", "")
KEY = "MKL_DEBUG_CPU_TYPE"


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(startup, "_CPU_INFO", path)
    monkeypatch.setenv(KEY, "")  # so that it is put back afterwards
    monkeypatch.delenv(KEY)
    return path


@pytest.mark.parametrize(
    ("text", "training", "expected"),
    [
        pytest.param(AMD, True, "5", id="AMD, training"),
        pytest.param(AMD, False, None, id="AMD, no training"),
        pytest.param(INTEL, True, None, id="Intel"),
        pytest.param(OLD, True, None, id="AMD without AVX2"),
        pytest.param(None, True, None, id="not Linux"),
    ],
)
def test_mkls_fast_path_is_asked_for_and_said_once(
    cpu: Path, text: str | None, training: bool, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    if text is not None:
        cpu.write_text(text)
    startup.import_paddle(training)
    startup.import_paddle(training)
    assert os.environ.get(KEY) == expected
    assert caplog.text.count(f"AMD CPU: {KEY}=5 is set") == (expected is not None)


@pytest.mark.parametrize("value", ["4", ""])
def test_the_users_own_setting_wins(
    cpu: Path, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cpu.write_text(AMD)
    monkeypatch.setenv(KEY, value)
    startup.import_paddle(training=True)
    assert os.environ[KEY] == value and KEY not in caplog.text


_FAULTS = """
import resource, sys
from ocrslim.utils import paddle_setup as startup
startup.import_paddle(training=sys.argv[1] == "training")

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    return [len(b"x" * (size << 20)) for size in (8, 40, 100)]

work(), work()
before = faults()
work(), work(), work()
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
@pytest.mark.parametrize(
    ("stage", "tunables", "kept"),
    [
        pytest.param("training", "", True, id="training"),
        pytest.param("analysis", "", False, id="no training"),
        pytest.param("training", "glibc.malloc.mmap_max=65536", False, id="the user's own setting wins"),
    ],
)
def test_in_training_memory_is_kept_and_not_asked_for_again(stage: str, tunables: str, kept: bool) -> None:
    environment = {**os.environ, "GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-W", "ignore", "-c", _FAULTS, stage]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    pages = int(done.stdout.split()[-1])
    assert pages < 100 if kept else pages > 10_000


def test_a_process_told_to_end_while_paddle_is_imported_ends_behind_it(tmp_path: Path) -> None:
    """Paddle's own handler asks for memory, and waited for ever where it came amid such a call."""
    (tmp_path / "paddle.py").write_text(
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "def disable_signal_handler(): signal.signal(signal.SIGTERM, signal.SIG_DFL); print('restored', flush=True)\n"
    )
    code = "from ocrslim.utils.paddle_setup import import_paddle; import_paddle(); print('went on', flush=True)"
    paths = os.pathsep.join([str(tmp_path), str(Path(startup.__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (-15, "restored\n"), done.stderr
