"""From a model and a folder of images to a smaller model, with what it costs measured: `ocrslim compress`."""

from ocrslim.compression.agreement import Agreement
from ocrslim.compression.journal import RECORD
from ocrslim.compression.request import Request
from ocrslim.compression.summary import summary_text
from ocrslim.compression.workflow import compress

__all__ = ["RECORD", "Agreement", "Request", "compress", "summary_text"]
