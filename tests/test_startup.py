"""The environment that Paddle is imported with."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from ocrslim import startup

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
