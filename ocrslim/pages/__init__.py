"""Whole pages: a detector and a recogniser together, read, timed, scored, and made smaller within one budget."""

from ocrslim.pages.process import PageProcess
from ocrslim.pages.reader import PageReader
from ocrslim.pages.request import PairRequest
from ocrslim.pages.results import labelled_lines
from ocrslim.pages.stand import PageReading, Seconds
from ocrslim.pages.summary import pair_summary
from ocrslim.pages.workflow import compress_pair

__all__ = [
    "PageProcess",
    "PageReader",
    "PageReading",
    "PairRequest",
    "Seconds",
    "compress_pair",
    "labelled_lines",
    "pair_summary",
]
