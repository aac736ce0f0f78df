"""PaddleOCR's own data transforms and post-processing; imported late, as it takes a second.

`import paddleocr` puts the package `ppocr` on the path, where no other copy of it is there.
"""

from ocrslim.errors import ConfigError
from ocrslim.ppocr.quiet import quietly
from ocrslim.ppocr.source import import_fault, used_source

with quietly():
    if used_source() is None:
        import paddleocr  # noqa: F401
    try:
        from ppocr.data import imaug
        from ppocr.data.imaug import create_operators, transform
        from ppocr.postprocess import build_post_process
        from ppocr.utils.logging import get_logger
        from ppocr.utils.utility import alpha_to_color
    except ImportError as error:
        if used_source() is None:
            raise
        raise ConfigError(import_fault(error)) from error

    get_logger()  # which sets its handlers up when it is first called, and not again

__all__ = ["alpha_to_color", "build_post_process", "create_operators", "imaug", "transform"]
