"""PaddleOCR's own data transforms and post-processing, imported without its side effects.

`import paddleocr` puts the package `ppocr` on the path; on the way it gives its logger a handler on
standard output at level DEBUG, silences every warning and changes NumPy's error state. All of that is
undone here: only `ppocr`'s warnings remain, on whatever handlers the program has set up.
"""

from __future__ import annotations

import logging
import os
import warnings

import numpy as np
import paddle  # noqa: F401  its own loggers are its own affair, so before the lines below

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else albumentations asks PyPI for a newer version

with warnings.catch_warnings(), np.errstate():
    import paddleocr  # noqa: F401  puts ppocr on the path
    from ppocr.data import imaug
    from ppocr.data.imaug import create_operators, transform
    from ppocr.postprocess import build_post_process
    from ppocr.utils.utility import alpha_to_color

_logger = logging.getLogger("ppocr")
_logger.handlers.clear()
_logger.setLevel(logging.WARNING)
_logger.propagate = True

__all__ = ["alpha_to_color", "build_post_process", "create_operators", "imaug", "transform"]
