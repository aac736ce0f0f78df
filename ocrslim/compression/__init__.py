"""From a model and a folder of images to a smaller model, with what it costs measured: `ocrslim compress`.

What serves a single model as well as a pair of them (`ocrslim.pages`) is here, too: images and their parts, the journal
of a run, agreement with its interval, files, and the verdict.
"""

from ocrslim.compression.agreement import Agreement, interval
from ocrslim.compression.choosing import TOLERANCE
from ocrslim.compression.files import (
    Costs,
    costs_of_original,
    export_to,
    formats_for,
    is_whole,
    original_for,
    require_place,
    unpruned_for,
)
from ocrslim.compression.images import FEWEST, Split, image_hashes, split
from ocrslim.compression.journal import JOURNAL, Advance, Journal
from ocrslim.compression.labels import LabelFiles, divide_labels
from ocrslim.compression.learning import epochs_within, of_length, training_config
from ocrslim.compression.record import environment, model_record
from ocrslim.compression.request import RUN, Request, model_identity, settings_identity
from ocrslim.compression.samples import FOLDER, choose_samples, save_sample, scaled
from ocrslim.compression.summary import summary_text, verdict_text
from ocrslim.compression.times import AFTER, BEFORE, REWRITTEN, place_of
from ocrslim.compression.verdict import Measured, verdict_of
from ocrslim.compression.workflow import compress, conclude

__all__ = [
    "AFTER",
    "BEFORE",
    "FEWEST",
    "FOLDER",
    "JOURNAL",
    "REWRITTEN",
    "RUN",
    "TOLERANCE",
    "Advance",
    "Agreement",
    "Costs",
    "Journal",
    "LabelFiles",
    "Measured",
    "Request",
    "Split",
    "choose_samples",
    "compress",
    "conclude",
    "costs_of_original",
    "divide_labels",
    "environment",
    "epochs_within",
    "export_to",
    "formats_for",
    "image_hashes",
    "interval",
    "is_whole",
    "model_identity",
    "model_record",
    "of_length",
    "original_for",
    "place_of",
    "require_place",
    "save_sample",
    "scaled",
    "settings_identity",
    "split",
    "summary_text",
    "training_config",
    "unpruned_for",
    "verdict_of",
    "verdict_text",
]
