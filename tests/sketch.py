"""Networks sketched operator by operator, without a framework: what tests of the coupling rules are fed with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ocrslim.graph.builder import build_graph
from ocrslim.graph.groups import ChannelGraph
from ocrslim.graph.program import Op, Program, Value


class Sketch:
    """A program under construction; layers are named by their first argument, `a` makes `a.weight`."""

    def __init__(self) -> None:
        self._ids = itertools.count()
        self._ops: list[Op] = []
        self._inputs: list[Value] = []
        self._weights: dict[str, str] = {}

    def input(self, *shape: int) -> Value:
        """What the network is called with."""
        self._inputs.append(self.value(shape))
        return self._inputs[-1]

    def value(self, shape: Sequence[int] | None, parameter: str | None = None) -> Value:
        return Value(next(self._ids), None if shape is None else tuple(shape), parameter)

    def parameter(self, key: str, *shape: int) -> Value:
        return self.value(shape, key)

    def op(self, name: str, made: Sequence[int] | None, /, *values: Value | None, **attributes: Any) -> Value:
        """An operator with one output of shape `made`; its arguments are named `x`, `y`, then by position."""
        names = ("x", "y", *map(str, range(2, len(values))))
        return self.named(name, made, dict(zip(names, values)), **attributes)

    def named(
        self, name: str, made: Sequence[int] | None, inputs: dict[str, Value | None], /, **attributes: Any
    ) -> Value:
        """An operator with one output of shape `made`, its arguments by their names."""
        return self.several(name, [made], inputs, **attributes)[0]

    def several(
        self, name: str, made: Sequence[Sequence[int] | None], inputs: dict[str, Value | None], /, **attributes: Any
    ) -> list[Value]:
        """An operator with several outputs."""
        outs = [self.value(shape) for shape in made]
        layer = next((self._weights[v.parameter] for v in inputs.values() if v and v.parameter in self._weights), "")
        self._ops.append(Op(name, inputs, outs, attributes, layer=layer))
        return outs

    def list(self, *values: Value) -> Value:
        """Values as a list."""
        return self.named("combine", None, {str(i): value for i, value in enumerate(values)})

    def parts(self, source: Value, *shapes: Sequence[int]) -> list[Value]:
        """A list as its values."""
        outs = [self.value(shape) for shape in shapes]
        self._ops.append(Op("builtin_split", {"0": source}, outs))
        return outs

    def conv(self, name: str, x: Value, out: int, groups: int = 1, weight: Value | None = None) -> Value:
        """A 1x1 convolution of NCHW values."""
        batch, channels, *space = x.shape or ()
        if weight is None:
            weight = self.parameter(f"{name}.weight", out, channels // groups, 1, 1)
            self._weights[f"{name}.weight"] = "Conv2D"
        return self.named("conv2d", [batch, out, *space], {"input": x, "filter": weight}, groups=groups)

    def transposed(self, name: str, x: Value, out: int, groups: int = 1) -> Value:
        """A 1x1 transposed convolution."""
        batch, channels, *space = x.shape or ()
        weight = self.parameter(f"{name}.weight", channels, out // groups, 1, 1)
        self._weights[f"{name}.weight"] = "Conv2DTranspose"
        return self.named("conv2d_transpose", [batch, out, *space], {"x": x, "filter": weight}, groups=groups)

    def share(self, name: str, *shape: int) -> Value:
        """The weight of a convolution that is to be used by several calls of `conv`."""
        self._weights[f"{name}.weight"] = "Conv2D"
        return self.parameter(f"{name}.weight", *shape)

    def linear(self, name: str, x: Value, out: int) -> Value:
        """A linear layer without bias."""
        *batch, channels = x.shape or ()
        weight = self.parameter(f"{name}.weight", channels, out)
        self._weights[f"{name}.weight"] = "Linear"
        return self.op("matmul", [*batch, out], x, weight)

    def norm(self, kind: str, name: str, x: Value, size: int, **attributes: Any) -> Value:
        """A normalisation with scale and bias."""
        given = {part: self.parameter(f"{name}.{part}", size) for part in ("scale", "bias")}
        return self.named(kind, x.shape, {"x": x, **given}, **attributes)

    def graph(self, *outputs: Value) -> ChannelGraph:
        """The channel graph, where the network returns `outputs`."""
        return build_graph(Program(self._ops, self._inputs, outputs), None, self._weights, {})


def shown(graph: ChannelGraph) -> dict[str, set[str]]:
    """Every group by its members, each as `key[slice]`."""
    return {name: {str(member) for member in group.members} for name, group in graph.groups.items()}


def units(graph: ChannelGraph, group: str, key: str, axis: int = 0) -> list[list[int]]:
    """Positions of each unit of a group along one axis of one parameter."""
    found = [m for m in graph.groups[group].members if (m.key, m.axis) == (key, axis)]
    assert len(found) == 1, f"{key} axis {axis} is no member of {group}: {graph.groups[group]}"
    return [list(positions) for positions in found[0].units]


def role(graph: ChannelGraph, group: str, key: str, axis: int) -> str:
    """Role of a member."""
    return next(m.role for m in graph.groups[group].members if (m.key, m.axis) == (key, axis))
