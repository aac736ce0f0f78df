"""Ways to run a network: dygraph, Paddle Inference, and a compiler for what sensitivity analysis repeats."""

from ocrslim.inference.auto_engine import AutoEngine
from ocrslim.inference.compiler.cost_model import CostModel
from ocrslim.inference.compiler.rewriting import Rewriting
from ocrslim.inference.compiler.rewritten import rewritten_program
from ocrslim.inference.compiler.upsampling import group_width
from ocrslim.inference.engines import (
    LEGACY_MODEL,
    PIR_MODEL,
    DygraphEngine,
    Engine,
    InferenceEngine,
)
from ocrslim.inference.exported import is_runnable, open_exported
from ocrslim.inference.incremental.activation_cache import ActivationCache
from ocrslim.inference.incremental.network import RuntimeNetwork, Variant
from ocrslim.inference.incremental.proof import Proof, proof_of
from ocrslim.inference.incremental.runner import GroupRunner
from ocrslim.inference.onnx_engine import OnnxEngine
from ocrslim.inference.openvino_engine import OpenVinoEngine
from ocrslim.inference.outputs import Output, difference, output_from, parts_of, tensors_of
from ocrslim.inference.predictor import PARAMS_FILE, PLAIN
from ocrslim.inference.runtimes import RUNTIMES, NamedEngine, Runtime
from ocrslim.inference.timing.bench import Bench, BenchRow, BenchSettings, Spread, bench
from ocrslim.inference.timing.process import TimingProcess
from ocrslim.inference.timing.stand import Pass, Stand
from ocrslim.inference.timing.stand import main as serve_stand
from ocrslim.inference.tracing import arrays_of, traced_for_task

__all__ = [
    "LEGACY_MODEL",
    "PARAMS_FILE",
    "PIR_MODEL",
    "PLAIN",
    "RUNTIMES",
    "ActivationCache",
    "AutoEngine",
    "Bench",
    "BenchRow",
    "BenchSettings",
    "CostModel",
    "DygraphEngine",
    "Engine",
    "GroupRunner",
    "InferenceEngine",
    "NamedEngine",
    "OnnxEngine",
    "OpenVinoEngine",
    "Output",
    "Pass",
    "Proof",
    "Rewriting",
    "Runtime",
    "RuntimeNetwork",
    "Spread",
    "Stand",
    "TimingProcess",
    "Variant",
    "arrays_of",
    "bench",
    "difference",
    "group_width",
    "is_runnable",
    "open_exported",
    "output_from",
    "parts_of",
    "proof_of",
    "rewritten_program",
    "serve_stand",
    "tensors_of",
    "traced_for_task",
]
