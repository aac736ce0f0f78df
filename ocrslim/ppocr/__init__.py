"""PaddleOCR's own code, as far as it is used here; imported late, as the import takes a second."""

from ocrslim.ppocr.imported import alpha_to_color, build_post_process, create_operators, imaug, transform

__all__ = ["alpha_to_color", "build_post_process", "create_operators", "imaug", "transform"]
