"""Networks, their weights, and the names of their layers."""

from ocrslim.models.base import OcrModel, output_of
from ocrslim.models.factory import build_model
from ocrslim.models.layer_names import to_public, to_state_key
from ocrslim.models.weights.loading import LoadReport, init_backbone, load_weights, read_weights
from ocrslim.models.weights.saving import save_checkpoint, state_arrays

__all__ = [
    "LoadReport",
    "OcrModel",
    "build_model",
    "init_backbone",
    "load_weights",
    "output_of",
    "read_weights",
    "save_checkpoint",
    "state_arrays",
    "to_public",
    "to_state_key",
]
