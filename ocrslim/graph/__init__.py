"""The channel graph: a network as operators and values, and which channels can only be removed together."""

from ocrslim.graph.depth import DEPTHWISE, TRANSPOSED
from ocrslim.graph.frontends.deployed import deployed, deployed_costs
from ocrslim.graph.frontends.dygraph import as_it_was, described, floating_type, graph_of_program, trace, traced
from ocrslim.graph.frontends.files import read_network
from ocrslim.graph.frontends.foreign import foreign_code
from ocrslim.graph.frontends.imported import Imported
from ocrslim.graph.frontends.inference_folder import read_inference_folder
from ocrslim.graph.frontends.onnx_file import read_onnx_file
from ocrslim.graph.frontends.training import Shape, TrainingForward
from ocrslim.graph.groups import INPUT, OUTPUT, ChannelGraph, Group, Layer, Member
from ocrslim.graph.program import Op, Program, Value
from ocrslim.graph.tail import tail_readers, without_softmax

__all__ = [
    "DEPTHWISE",
    "INPUT",
    "OUTPUT",
    "TRANSPOSED",
    "ChannelGraph",
    "Group",
    "Imported",
    "Layer",
    "Member",
    "Op",
    "Program",
    "Shape",
    "TrainingForward",
    "Value",
    "as_it_was",
    "deployed",
    "deployed_costs",
    "described",
    "floating_type",
    "foreign_code",
    "graph_of_program",
    "read_inference_folder",
    "read_network",
    "read_onnx_file",
    "tail_readers",
    "trace",
    "traced",
    "without_softmax",
]
