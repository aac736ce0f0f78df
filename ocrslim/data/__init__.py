"""Images and labels, ready for the network."""

from ocrslim.data.batching import train_loader
from ocrslim.data.dataset import LabelledSet, scan
from ocrslim.data.eval_set import EvalSet, scan_both, scan_evaluation
from ocrslim.data.input_memory import NetworkMemory
from ocrslim.data.label_files import read_labels
from ocrslim.data.preprocess import Prepared, Preprocessor, network_sizes
from ocrslim.data.samples import cut_out
from ocrslim.data.synthetic import font_files, render_dataset
from ocrslim.data.transforms import build_operators
from ocrslim.data.unlabelled import image_paths, names_labels, unlabelled_images

__all__ = [
    "EvalSet",
    "LabelledSet",
    "NetworkMemory",
    "Prepared",
    "Preprocessor",
    "build_operators",
    "cut_out",
    "font_files",
    "image_paths",
    "names_labels",
    "network_sizes",
    "read_labels",
    "render_dataset",
    "scan",
    "scan_both",
    "scan_evaluation",
    "train_loader",
    "unlabelled_images",
]
