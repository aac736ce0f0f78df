"""The size of attention's heads, which its layer keeps as a number and reshapes queries, keys and values with.

PaddleOCR's attention layers (SVTR, SVTRv2, ViTSTR, NRTR) say `reshape((0, -1, 3, self.num_heads, self.head_dim))` and,
of all heads together, `reshape((0, -1, self.dim))`. Where every head loses channels, these numbers follow the linear
layer that makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paddle import nn

_HEADS, _SIZE = "num_heads", "head_dim"
_TOGETHER = ("dim", "embed_dim")


@dataclass(frozen=True)
class HeadSize:
    """The numbers of one attention layer.

    Attributes:
        layer: keeps them.
        source: makes `parts` x heads x channels of a head: of 3 parts, queries, keys and values.
        names: attributes that hold the channels of a head, or of all heads together -> value now.
    """

    layer: nn.Layer
    source: nn.Linear
    parts: int
    names: dict[str, int]

    def follow(self) -> None:
        """Set them to what the linear layer makes now."""
        together = self.source.weight.shape[1] // self.parts
        for name in self.names:
            setattr(self.layer, name, together // getattr(self.layer, _HEADS) if name == _SIZE else together)


def head_sizes(model: nn.Layer) -> list[HeadSize]:
    """Find the attention layers of `model` that keep the size of their heads."""
    return [found for layer in model.sublayers(include_self=True) for found in _sizes(layer)]


def _sizes(layer: nn.Layer) -> Iterator[HeadSize]:
    heads, size = vars(layer).get(_HEADS), vars(layer).get(_SIZE)
    if type(heads) is not int or type(size) is not int:
        return
    together = heads * size
    for source in layer.children():  # the first one makes the queries
        if isinstance(source, nn.Linear) and together and source.weight.shape[1] % together == 0:
            names = {name: together for name in _TOGETHER if vars(layer).get(name) == together}
            yield HeadSize(layer, source, source.weight.shape[1] // together, {**names, _SIZE: size})
            return
