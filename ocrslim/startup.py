"""Importing Paddle without its noise."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

logger = logging.getLogger(__name__)

_NOISE = r"No ccache found|Setuptools is replacing|.*pkg_resources|Found 'dict' in given outputs"
_CPU_INFO = Path("/proc/cpuinfo")
_MKL = "MKL_DEBUG_CPU_TYPE"


def import_paddle(training: bool = False) -> None:
    """Import Paddle without its notes and warnings, and without its signal handler, which ends a process at once.

    Args:
        training: on an AMD CPU, have the MKL that Paddle carries take its fast path, and say so. It looks for Intel's
            name and takes a slow one elsewhere; forward passes on oneDNN do not use it. What the environment says of
            `MKL_DEBUG_CPU_TYPE`, be it empty, wins.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    # images of a dozen sizes take more kernels than oneDNN keeps by itself
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    if training and _MKL not in os.environ and slow_mkl():
        os.environ[_MKL] = "5"
        logger.info("AMD CPU: %s=5 is set, with which training takes about 0.6 times as long", _MKL)
    warnings.filterwarnings("ignore", message=_NOISE)
    import paddle

    paddle.disable_signal_handler()


def slow_mkl() -> bool:
    """Whether this is an AMD CPU with the instructions (AVX2) that MKL's fast path needs."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return False
    return "AuthenticAMD" in text and " avx2 " in text
