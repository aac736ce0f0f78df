"""Import of Paddle without its warnings."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

from ocrslim.utils.input_files import MAX_PIXELS

logger = logging.getLogger(__name__)

_NOISE = (
    r"No ccache found|Setuptools is replacing|.*pkg_resources|Found 'dict' in given outputs"
    r"|When training, we now always track"  # of every batch norm that trains
)
_CPU_INFO = Path("/proc/cpuinfo")
_MKL = "MKL_DEBUG_CPU_TYPE"
# parameters of glibc's mallopt (malloc.h): no block is mapped by itself, and none is given back
_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2
_KEEP = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))


def import_paddle(training: bool = False) -> None:
    """Import Paddle without its notices and warnings, and without its signal handler, which ends a process at once.

    Args:
        training: on an AMD CPU, have the MKL that Paddle carries take its fast path, and say so. It looks for Intel's
            name and takes a slow one elsewhere; forward passes on oneDNN do not use it. What the environment says of
            `MKL_DEBUG_CPU_TYPE`, be it empty, wins. And with glibc, keep memory that is free for what comes next,
            unless `GLIBC_TUNABLES` has a word on malloc: Paddle otherwise gives it back and asks for it again, tens
            of thousands of pages in every step, a tenth of a training's time.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a damaged image is one line of ours
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))  # for formats whose header Pillow cannot read
    # images of a dozen sizes take more kernels than oneDNN keeps by itself
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    if training and _MKL not in os.environ and slow_mkl():
        os.environ[_MKL] = "5"
        logger.info("AMD CPU: %s=5 is set, with which training takes about 0.6 times as long", _MKL)
    if training and "malloc" not in os.environ.get("GLIBC_TUNABLES", ""):
        keep_memory()
    warnings.filterwarnings("ignore", message=_NOISE)
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")  # beyond twice that it fails
    with _terminated_later():
        import paddle

        paddle.disable_signal_handler()


@contextlib.contextmanager
def _terminated_later() -> Iterator[None]:
    """Put SIGTERM off: Paddle's handler, which its import installs, asks for memory, and can wait for ever for that."""
    if not hasattr(signal, "pthread_sigmask"):  # not a Unix
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def keep_memory() -> None:
    """Have this process's malloc keep what is freed, where it is glibc's."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in _KEEP:
            library.mallopt(parameter, value)


def slow_mkl() -> bool:
    """Tell whether this is an AMD CPU with AVX2, which MKL's fast path needs."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return False
    return "AuthenticAMD" in text and " avx2 " in text


def use_device(use_gpu: bool) -> None:
    """Select the GPU where `Global.use_gpu` asks for one and Paddle has it; otherwise the CPU, saying so."""
    import paddle

    possible = paddle.is_compiled_with_cuda()
    if use_gpu and not possible:
        logger.warning("Global.use_gpu is true, but this paddlepaddle has no GPU support: running on the CPU")
    paddle.set_device("gpu" if use_gpu and possible else "cpu")
