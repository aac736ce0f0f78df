"""The vocabulary of the configuration's tables: what a value may be, and which keys a section has."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ocrslim.utils import name_fault, shortened, text_fault

MOST = 2**31 - 1  # the largest whole number where nothing smaller has a meaning of its own
MOST_ITEMS = 10_000
_TELLING = 10_000  # a bound above this says nothing to those who are far from it
_SMALLEST = 1e-30  # about what remains of a number that is multiplied in 32 bits
MOST_EPOCHS = 1_000_000
MOST_TRANSFORMS = 100
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Rule:
    """A single value: `convert` returns it as the program reads it, or raises ValueError."""

    expected: str
    convert: Callable[[Any], Any]
    optional: bool = False  # an empty value (null) stands for "not set"
    dropped: bool = False  # checked, but left out of the resolved configuration: it decides nothing
    textual: bool = False  # text, so that what YAML reads as something else has to stand in quotes


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


def whole(low: int, high: int = MOST, *, step: int = 1, optional: bool = False) -> Rule:
    """An integer from `low` to `high`, both included."""

    def convert(value: Any) -> int:
        number = _integer(value)
        refuse_unless(number >= low and number % step == 0)
        refuse_unless(number <= high, f"more than {high:,}")
        return number

    bounds = f"of at least {low}" if high > _TELLING else f"from {low} to {high}"
    multiple = f", a multiple of {step}" if step > 1 else ""
    return Rule(f"a whole number {bounds}{multiple}", convert, optional)


def real(low: float, high: float, *, above: bool = False, below: bool = False, optional: bool = False) -> Rule:
    """A number from `low` to `high`; `above`, `below`: without the bound itself."""

    def convert(value: Any) -> float:
        number = to_number(value)
        refuse_unless(number > low if above else number >= low)
        refuse_unless(number < high if below else number <= high)
        return number

    lower = f"above {low:g}" if above else f"of at least {low:g}"
    return Rule(f"a number {lower} and {'below' if below else 'at most'} {high:g}", convert, optional)


def choice(*options: str | float) -> Rule:
    """One of `options`, which are all texts or all numbers."""

    def convert(value: Any) -> str | float:
        chosen = value if isinstance(options[0], str) else float(to_number(value))
        refuse_unless(isinstance(chosen, (str, float)) and chosen in options)
        return chosen

    names = ", ".join(str(option) for option in options)
    return Rule(names if len(options) == 1 else f"one of {names}", convert, textual=isinstance(options[0], str))


def pair(rule: Rule, what: str, *, ascending: bool = False) -> Rule:
    """A list of two values of `rule`."""

    def convert(value: Any) -> list[Any]:
        refuse_unless(isinstance(value, list) and len(value) == 2)
        first, second = (rule.convert(item) for item in value)
        refuse_unless(not ascending or first <= second, "the first is larger than the second")
        return [first, second]

    return Rule(f"{what}: two, each {rule.expected}", convert)


def refuse_unless(condition: bool, detail: str = "") -> None:
    """Raise ValueError with `detail`, which says what is wrong where the value alone does not."""
    if not condition:
        raise ValueError(detail)


def to_number(value: Any) -> int | float:
    """Return `value` as a finite number; YAML 1.1 reads `1e-3` as text, people mean the number."""
    if isinstance(value, str) and len(value) < 100 and _NUMBER.fullmatch(value):
        value = float(value)
    refuse_unless(isinstance(value, (int, float)) and not isinstance(value, bool))
    refuse_unless(-(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value), "beyond 64 bits")
    refuse_unless(value == 0 or abs(value) >= _SMALLEST, f"nearer to 0 than {_SMALLEST:g}, which counts as 0")
    return value


def _text(value: Any) -> str:
    refuse_unless(isinstance(value, str) and value.strip() != "")
    fault = name_fault(value)
    refuse_unless(fault is None, f"it {fault}")
    return value


def _path(value: Any) -> str:
    text = _text(value)
    refuse_unless(not text.startswith("~"), "only a shell knows ~: write the path of the home folder out")
    return text


def _characters(value: Any) -> str:
    refuse_unless(isinstance(value, str) and value != "")
    fault = text_fault(value, most=100)
    refuse_unless(fault is None, f"it {fault}")
    return value


def _flag(value: Any) -> bool:
    refuse_unless(isinstance(value, bool))
    return value


def _integer(value: Any) -> int:
    refuse_unless(isinstance(value, int) and not isinstance(value, bool))
    return value


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in _items([value] if isinstance(value, str) else value)]


def _some_texts(value: Any) -> list[str]:
    items = _texts(value)
    refuse_unless(len(items) > 0)
    return items


def _some_paths(value: Any) -> list[str]:
    items = [_path(item) for item in _items([value] if isinstance(value, str) else value)]
    refuse_unless(len(items) > 0)
    return items


def _items(value: Any) -> list[Any]:
    refuse_unless(isinstance(value, list))
    refuse_unless(len(value) <= MOST_ITEMS, f"{len(value):,} items, at most {MOST_ITEMS:,} make sense")
    return value


def _numbers(value: Any) -> list[int | float]:
    refuse_unless(len(_items(value)) > 0)
    return [to_number(item) for item in value]


def _rates(value: Any) -> list[int | float]:
    return [RATE.convert(rate) for rate in _numbers(value)]


def _epochs(value: Any) -> list[int | float]:
    epochs = _numbers(value)
    refuse_unless(epochs[0] > 0 and epochs[-1] <= MOST_EPOCHS and _ascending(epochs))
    return epochs


def _ascending(numbers: list[int | float]) -> bool:
    return all(a < b for a, b in zip(numbers, numbers[1:]))


def _ratios(value: Any) -> list[float]:
    ratios = [float(number) for number in _numbers(value)]
    refuse_unless(all(0.001 <= ratio <= 0.999 for ratio in ratios))
    refuse_unless(_ascending([*ratios]), "not ascending, or one twice")
    return ratios


def _shares(value: Any) -> Any:
    shares = _numbers(value if isinstance(value, list) else [value])
    refuse_unless(all(0 < share <= 1 for share in shares))
    return shares if isinstance(value, list) else shares[0]


def _shard(value: Any) -> str:
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", _text(value))
    refuse_unless(found is not None and 1 <= int(found[1]) <= int(found[2]))
    return f"{int(found[1])}/{int(found[2])}" if found else ""


def _eval_step(value: Any) -> Any:
    if not isinstance(value, list):
        refuse_unless(1 <= _integer(value) <= MOST)
        return value
    refuse_unless(len(value) == 2)
    start, every = (_integer(item) for item in value)
    refuse_unless(0 <= start <= MOST and 1 <= every <= MOST)
    return [start, every]


def _transforms(value: Any) -> list[dict[str, Any]]:
    refuse_unless(isinstance(value, list) and len(value) > 0)
    refuse_unless(len(value) <= MOST_TRANSFORMS, f"{len(value)} items, at most {MOST_TRANSFORMS} make sense")
    for index, item in enumerate(value):
        detail = f"item {index}, counted from 0, is {shortened(repr(item))}"
        refuse_unless(isinstance(item, dict) and len(item) == 1, detail)
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
STRING = Rule("text", _text, textual=True)
CHARACTERS = Rule("one or more characters", _characters, textual=True)
FOLDER = Rule("a path", _path, textual=True)
PATH = Rule("a path", _path, optional=True, textual=True)
PATTERNS = Rule(
    "a pattern or a list of patterns over parameter names, such as ['conv1*', 'neck.*']", _texts, textual=True
)
SOME_PATTERNS = Rule(PATTERNS.expected, _some_texts, textual=True)
LABEL_FILES = Rule("a label file or a list of label files", _some_paths, textual=True)
TRANSFORMS = Rule("a list of transforms, each a mapping with its name as only key", _transforms)
FRACTION = real(0, 1, above=True, below=True)
PART = Rule(f"{FRACTION.expected}: the fraction to remove", FRACTION.convert, optional=True)
ZERO_TO_ONE = real(0, 1)
BELOW_ONE = real(0, 1, below=True)
RATE = real(0, 100)  # of learning
WEIGHT = real(0, 1e6)  # of a part of a loss
TINY = real(0, 1, above=True)  # added so that nothing is divided by zero
EPOCH_NUM = real(0, MOST_EPOCHS)
ONE_IMAGE = Rule("1: images are evaluated one by one, each at its own size", _one)
SHARES = Rule("the fraction of each label file to use, above 0 and at most 1", _shares)
RATIOS = Rule("a list of fractions from 0.001 to 0.999, ascending, such as [0.1, 0.3, 0.5]", _ratios)
SHARD = Rule("which part of how many, such as 2/8", _shard, optional=True, textual=True)
MINUTES = Rule("minutes, more than 0 and at most 1000000", real(0, 1e6, above=True).convert, optional=True)
EVAL_STEP = Rule("[first, every] in batches, or one whole number of at least 1", _eval_step)
EPOCHS = Rule("a list of epochs above 0, ascending", _epochs)
RATES = Rule(f"a list of learning rates, one more than decay_epochs, each {RATE.expected}", _rates)
