"""The channel graph: a network as operators and values, and which channels can only be removed together."""

from ocrslim.graph.depth import DEPTHWISE, TRANSPOSED
from ocrslim.graph.frontends.deployed import deployed, deployed_costs
from ocrslim.graph.frontends.dygraph import as_it_was, described, floating_type, trace, traced
from ocrslim.graph.frontends.foreign import foreign_code
from ocrslim.graph.frontends.training import Shape, TrainingForward
from ocrslim.graph.groups import INPUT, OUTPUT, ChannelGraph, Group, Layer, Member
from ocrslim.graph.program import Op, Program, Value

__all__ = [
    "DEPTHWISE",
    "INPUT",
    "OUTPUT",
    "TRANSPOSED",
    "ChannelGraph",
    "Group",
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
    "trace",
    "traced",
]
