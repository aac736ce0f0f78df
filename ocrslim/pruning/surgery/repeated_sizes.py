"""Attributes in which a layer repeats the sizes of the layers inside it.

A layer of a network's own may keep `in_channels`, `groups` or `channels` as numbers, and make a convolution of that
size from them when it is re-parameterised. Such a number is known by its name and by its value: that of a
convolution, linear layer or batch norm inside the layer. It follows that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paddle import nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase

_IN, _OUT, _GROUPS = "in", "out", "groups"
_SIDES = {
    **dict.fromkeys(("in", "input", "inp", "inplanes"), _IN),
    **dict.fromkeys(("out", "output", "oup", "outplanes"), _OUT),
}
_COUNTS = {"c", "ch", "channel", "channels", "dim", "dims", "features", "filters", "planes"}
_WHOLE = {"inp", "oup", "inplanes", "outplanes"}  # names that say by themselves that they count channels


@dataclass(frozen=True)
class RepeatedSize:
    """One such attribute.

    Attributes:
        layer: keeps it.
        name: of the attribute.
        value: now.
        source: the inner layer whose size it repeats.
        side: which size of it.
    """

    layer: nn.Layer
    name: str
    value: int
    source: nn.Layer
    side: str

    def follow(self) -> None:
        """Set it to the size that the inner layer has now."""
        setattr(self.layer, self.name, _sizes(self.source)[self.side])


def repeated_sizes(model: nn.Layer) -> list[RepeatedSize]:
    """Find the attributes of the layers of `model` that repeat a size; Paddle's own layers are left out."""
    return [found for layer in model.sublayers(include_self=True) for found in _repeated(layer)]


def _repeated(layer: nn.Layer) -> Iterator[RepeatedSize]:
    if type(layer).__module__.startswith("paddle."):
        return
    for name, value in vars(layer).items():
        sides = _sides(name) if type(value) is int else ()
        if not sides:
            continue
        # what a layer reads is read by its first convolution, what it makes is made by its last
        inner = layer.sublayers(include_self=True)
        for source in reversed(inner) if sides == (_OUT,) else inner:
            sizes = _sizes(source)
            side = next((side for side in sides if sizes.get(side) == value), None)
            if side is not None:
                yield RepeatedSize(layer, name, value, source, side)
                break


def _sides(name: str) -> tuple[str, ...]:
    """The sizes that an attribute of this name may repeat; none if it is not the name of a size."""
    words = set(name.lower().strip("_").split("_"))
    if "groups" in words:
        return (_GROUPS,)
    if not words & _COUNTS and not words & _WHOLE:
        return ()
    sides = tuple(dict.fromkeys(_SIDES[word] for word in words if word in _SIDES))
    return sides if len(sides) == 1 else (_IN, _OUT)


def _sizes(layer: nn.Layer) -> dict[str, int]:
    """The sizes of one of Paddle's layers, as its attributes and weights have them."""
    if isinstance(layer, _ConvNd):
        return {_IN: layer._in_channels, _OUT: layer._out_channels, _GROUPS: layer._groups}
    if isinstance(layer, nn.Linear):
        return {_IN: layer.weight.shape[0], _OUT: layer.weight.shape[1]}
    return {_IN: layer._num_features} if isinstance(layer, _BatchNormBase) else {}
