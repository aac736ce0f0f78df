"""Importing Paddle without its noise."""

from __future__ import annotations

import os
import warnings

_NOISE = r"No ccache found|Setuptools is replacing|.*pkg_resources|Found 'dict' in given outputs"


def import_paddle() -> None:
    """Import Paddle without its notes and warnings, and without its signal handler, which ends a process at once."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    # images of a dozen sizes take more kernels than oneDNN keeps by itself
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    warnings.filterwarnings("ignore", message=_NOISE)
    import paddle

    paddle.disable_signal_handler()
