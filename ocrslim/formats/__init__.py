"""Files of others, read without running anything in them, and the files that ocrslim writes for others."""

from ocrslim.formats.faults import FormatFault
from ocrslim.formats.image_shape import input_sizes, require_image
from ocrslim.formats.onnx.folding import Folding
from ocrslim.formats.onnx.model import OnnxModel, counted, onnx_metadata, open_onnx
from ocrslim.formats.onnx.runtime import ONNX_PACKAGE, ONNX_RUNTIME, onnx_runtime_lacks
from ocrslim.formats.onnx.sizes import Sizes, reshape_target, sizes_at
from ocrslim.formats.onnx.tensors import copy_name
from ocrslim.formats.onnx.writer import write_cut_classes_onnx, write_pruned_onnx
from ocrslim.formats.pickles.safe_pickle import read_pickle
from ocrslim.formats.programs.free_shapes import free_channels
from ocrslim.formats.programs.program_check import check_program
from ocrslim.formats.programs.program_writer import ProgramWriter
from ocrslim.formats.pruned.writer import write_pruned
from ocrslim.formats.sensitivity_table import Sensitivities, read_sensitivities, write_sensitivities
from ocrslim.formats.weights.exported import ONNX_SUFFIX, exported_files, is_exported, named_network
from ocrslim.formats.weights.inference_model import find_program
from ocrslim.formats.weights.paths import PLAN_SUFFIX, resolve_checkpoint
from ocrslim.formats.weights.reader import EXPORTED, not_finite, read_weight_file, require_finite
from ocrslim.formats.weights.weight_file import CHECKPOINT, Arrays, WeightFile

__all__ = [
    "CHECKPOINT",
    "EXPORTED",
    "ONNX_PACKAGE",
    "ONNX_RUNTIME",
    "ONNX_SUFFIX",
    "PLAN_SUFFIX",
    "Arrays",
    "Folding",
    "FormatFault",
    "OnnxModel",
    "ProgramWriter",
    "Sensitivities",
    "Sizes",
    "WeightFile",
    "check_program",
    "copy_name",
    "counted",
    "exported_files",
    "find_program",
    "free_channels",
    "input_sizes",
    "is_exported",
    "named_network",
    "not_finite",
    "onnx_metadata",
    "onnx_runtime_lacks",
    "open_onnx",
    "read_pickle",
    "read_sensitivities",
    "read_weight_file",
    "require_finite",
    "require_image",
    "reshape_target",
    "resolve_checkpoint",
    "sizes_at",
    "write_cut_classes_onnx",
    "write_pruned",
    "write_pruned_onnx",
    "write_sensitivities",
]
