"""The vocabulary of the configuration's tables: what a value may be, and which keys a section has."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Rule:
    """A single value: `convert` returns it as the program reads it, or raises ValueError."""

    expected: str
    convert: Callable[[Any], Any]
    optional: bool = False  # an empty value (null) stands for "not set"
    dropped: bool = False  # checked, but left out of the resolved configuration: it decides nothing


@dataclass(frozen=True)
class Section:
    """A mapping: its keys, which of them must be there, and what the others are when absent or empty."""

    keys: Mapping[str, Node]
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variants:
    """A mapping whose key `name` decides which other keys it takes."""

    options: Mapping[str, Section]
    default: str | None = None


Node = Union[Rule, Section, Variants]


def named(**keys: Node) -> dict[str, Node]:
    """The keys of one of the `Variants`."""
    return {"name": STRING, **keys}


def whole(low: int, high: int | None = None, *, step: int = 1, optional: bool = False) -> Rule:
    """An integer from `low` to `high`, both included."""

    def convert(value: Any) -> int:
        number = _integer(value)
        refuse_unless(number >= low and (high is None or number <= high) and number % step == 0)
        return number

    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    multiple = f", a multiple of {step}" if step > 1 else ""
    return Rule(f"a whole number {bounds}{multiple}", convert, optional)


def real(low: float, high: float | None = None, *, above: bool = False, below: bool = False) -> Rule:
    """A number from `low` to `high`; `above`, `below`: without the bound itself."""

    def convert(value: Any) -> float:
        number = to_number(value)
        refuse_unless(number > low if above else number >= low)
        refuse_unless(high is None or (number < high if below else number <= high))
        return number

    lower = f"above {low:g}" if above else f"of at least {low:g}"
    upper = "" if high is None else f" and {'below' if below else 'at most'} {high:g}"
    return Rule(f"a number {lower}{upper}", convert)


def choice(*options: str | float) -> Rule:
    """One of `options`, which are all texts or all numbers."""

    def convert(value: Any) -> str | float:
        chosen = value if isinstance(options[0], str) else float(to_number(value))
        refuse_unless(isinstance(chosen, (str, float)) and chosen in options)
        return chosen

    names = ", ".join(str(option) for option in options)
    return Rule(names if len(options) == 1 else f"one of {names}", convert)


def refuse_unless(condition: bool, detail: str = "") -> None:
    """Raise ValueError with `detail`, which says what is wrong where the value alone does not."""
    if not condition:
        raise ValueError(detail)


def to_number(value: Any) -> int | float:
    """Return `value` as a finite number; YAML 1.1 reads `1e-3` as text, people mean the number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    refuse_unless(isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value))
    return value


def _text(value: Any) -> str:
    refuse_unless(isinstance(value, str) and value.strip() != "")
    return value


def _characters(value: Any) -> str:
    refuse_unless(isinstance(value, str) and value != "")
    return value


def _flag(value: Any) -> bool:
    refuse_unless(isinstance(value, bool))
    return value


def _integer(value: Any) -> int:
    refuse_unless(isinstance(value, int) and not isinstance(value, bool))
    return value


def _texts(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    refuse_unless(isinstance(items, list))
    return [_text(item) for item in items]


def _some_texts(value: Any) -> list[str]:
    items = _texts(value)
    refuse_unless(len(items) > 0)
    return items


def _numbers(value: Any) -> list[int | float]:
    refuse_unless(isinstance(value, list) and len(value) > 0)
    return [to_number(item) for item in value]


def _rates(value: Any) -> list[int | float]:
    rates = _numbers(value)
    refuse_unless(all(rate >= 0 for rate in rates))
    return rates


def _epochs(value: Any) -> list[int | float]:
    epochs = _numbers(value)
    refuse_unless(epochs[0] > 0 and _ascending(epochs))
    return epochs


def _ascending(numbers: list[int | float]) -> bool:
    return all(a < b for a, b in zip(numbers, numbers[1:]))


def _ratios(value: Any) -> list[float]:
    ratios = [float(number) for number in _numbers(value)]
    refuse_unless(all(0 < ratio < 1 for ratio in ratios))
    refuse_unless(_ascending([*ratios]), "not ascending, or one twice")
    return ratios


def _shares(value: Any) -> Any:
    shares = _numbers(value if isinstance(value, list) else [value])
    refuse_unless(all(0 < share <= 1 for share in shares))
    return shares if isinstance(value, list) else shares[0]


def _shard(value: Any) -> str:
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", _text(value))
    refuse_unless(found is not None and 1 <= int(found[1]) <= int(found[2]))
    return f"{int(found[1])}/{int(found[2])}" if found else ""


def _eval_step(value: Any) -> Any:
    if not isinstance(value, list):
        refuse_unless(_integer(value) >= 1)
        return value
    refuse_unless(len(value) == 2)
    start, every = (_integer(item) for item in value)
    refuse_unless(start >= 0 and every >= 1)
    return [start, every]


def _transforms(value: Any) -> list[dict[str, Any]]:
    refuse_unless(isinstance(value, list) and len(value) > 0)
    for index, item in enumerate(value):
        detail = f"item {index}, counted from 0, is {item!r}"
        refuse_unless(isinstance(item, dict) and len(item) == 1, detail)
        ((_, options),) = item.items()
        refuse_unless(options is None or isinstance(options, dict), detail)
    return value


def _one(value: Any) -> int:
    refuse_unless(_integer(value) == 1)
    return 1


def _never(value: Any) -> None:
    raise ValueError


def _false(value: Any) -> bool:
    refuse_unless(value is False)
    return False


ANYTHING = Rule("anything", lambda value: value, optional=True)
COMPUTED = Rule("anything", lambda value: value, optional=True, dropped=True)
NOTHING = Rule("nothing: detection has no such part", _never, optional=True)
BOOL = Rule("true or false", _flag)
NO_ASF = Rule("false: adaptive scale fusion (DB++) is not supported", _false, optional=True, dropped=True)
STRING = Rule("text", _text)
CHARACTERS = Rule("one or more characters", _characters)
PATH = Rule("a path", _text, optional=True)
PATTERNS = Rule("a pattern or a list of patterns over parameter names, such as ['conv1*', 'neck.*']", _texts)
LABEL_FILES = Rule("a label file or a list of label files", _some_texts)
TRANSFORMS = Rule("a list of transforms, each a mapping with its name as only key", _transforms)
FRACTION = real(0, 1, above=True, below=True)
PART = Rule(f"{FRACTION.expected}: the fraction to remove", FRACTION.convert, optional=True)
ZERO_TO_ONE = real(0, 1)
POSITIVE = real(0, above=True)
NOT_NEGATIVE = real(0)
BELOW_ONE = real(0, 1, below=True)
ONE_IMAGE = Rule("1: images are evaluated one by one, each at its own size", _one)
SHARES = Rule("the fraction of each label file to use, above 0 and at most 1", _shares)
RATIOS = Rule("a list of fractions between 0 and 1, ascending, such as [0.1, 0.3, 0.5]", _ratios)
SHARD = Rule("which part of how many, such as 2/8", _shard, optional=True)
MINUTES = Rule("minutes, more than 0", POSITIVE.convert, optional=True)
EVAL_STEP = Rule("[first, every] in batches, or one whole number of at least 1", _eval_step)
EPOCHS = Rule("a list of epochs above 0, ascending", _epochs)
RATES = Rule("a list of learning rates, one more than decay_epochs", _rates)
