"""A traced network as plain values: operators, the values between them, and where each came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ALONE = "onnx.model"  # attribute of an operator of ONNX's that Paddle has no equal of: a model of that node alone


@dataclass(frozen=True)
class Value:
    """A tensor that one operator passes to another.

    Attributes:
        id: unique within its program.
        shape: -1 for a size that is not known before the network runs; None for a list of values.
        parameter: state-dict key, for parameters and buffers.
    """

    id: int
    shape: tuple[int, ...] | None
    parameter: str | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape or ())


@dataclass(frozen=True)
class Op:
    """One operator.

    Attributes:
        name: without dialect and the underscore of in-place variants: `conv2d`, `batch_norm`.
        inputs: by the operator's own argument names, or `"0"`, `"1"`, ... where it has none.
        outputs: in order.
        attributes: as the program has them; constant operands are among them, under their argument's name.
        captured: values from outside that the operator's own blocks use (`if`, `while`).
        layer: path of the layer classes around it, such as `/DBHead/MapBranch`; empty where not known.
    """

    name: str
    inputs: Mapping[str, Value | None]
    outputs: Sequence[Value]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    captured: Sequence[Value] = ()
    layer: str = ""

    def __str__(self) -> str:
        return f"{self.name} in {self.layer}" if self.layer else self.name

    def __getitem__(self, argument: str) -> Value:
        """The value of an argument.

        Raises:
            KeyError: there is none of that name, or it was left out.
        """
        value = self.inputs[argument]
        if value is None:
            raise KeyError(argument)
        return value

    @property
    def alone(self) -> bytes | None:
        """A model of ONNX's of this operator alone, which a runtime of ONNX's runs; None for all others."""
        found = self.attributes.get(ALONE)
        return found if isinstance(found, bytes) else None

    def ints(self, name: str, default: Any = None) -> list[int]:
        """Return an attribute as a list of integers; of a single one, a list of that.

        Raises:
            KeyError: there is none of that name, and no `default`.
        """
        value = self.attributes.get(name, default)
        if value is None:
            raise KeyError(name)
        return [int(one) for one in value] if isinstance(value, Iterable) else [int(value)]

    def axis(self, value: Value, default: int = -1) -> int:
        """Return the attribute `axis`, as an axis of `value` counted from the front."""
        return self.ints("axis", default)[0] % value.rank

    def channel_axis(self, value: Value) -> int:
        """Return the axis of `value` that holds channels by the operator's data format."""
        layout = self.attributes.get("data_format") or self.attributes.get("data_layout") or "NCHW"
        return value.rank - 1 if layout.endswith("C") and value.rank > 2 else 1

    def values(self) -> Iterator[Value]:
        """Inputs that were given, captured ones last."""
        yield from (value for value in self.inputs.values() if value is not None)
        yield from self.captured


@dataclass(frozen=True)
class Program:
    """One forward pass.

    Attributes:
        ops: in the order in which they run.
        inputs: what the network is called with.
        outputs: what it returns, nested values flattened.
    """

    ops: Sequence[Op]
    inputs: Sequence[Value]
    outputs: Sequence[Value]
