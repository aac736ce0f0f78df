"""Types of configuration values for pydantic; the `description` of each says in words what is expected.

Imported by its own name, not through the package: a program that reads no configuration does without pydantic.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ocrslim.utils import name_fault, text_fault

MOST = 2**31 - 1  # the largest whole number where nothing smaller has a meaning of its own
MOST_ITEMS = 10_000
_TELLING = 10_000  # a larger bound is not named in messages: it does not help the user
_SMALLEST = 1e-30  # about what remains of a number that is multiplied in 32 bits
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT"})()
FAULT = "fault"  # the type of errors whose text is the whole message
Items = TypeVar("Items", bound=Sequence[Any])


class Section(BaseModel):
    """A mapping of the configuration; a key whose default is `ABSENT` stays away where it is not given."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, value: Any) -> Any:
        """Take an empty value for none where there is a default, or where one is required."""
        if not isinstance(value, dict):
            return value
        fields = cls.model_fields
        return {k: v for k, v in value.items() if v is not None or k not in fields or fields[k].default is ABSENT}

    def plain(self, given: Any) -> dict[str, Any]:
        """Return the values as YAML has them: those that were given, in the order of `given`, then the defaults."""
        fields, own = type(self).model_fields, given if isinstance(given, Mapping) else {}
        names = [name for name in own if name in self.model_fields_set]
        names += [name for name, field in fields.items() if name not in names and field.default is not ABSENT]
        left_out = {name for name, field in fields.items() if field.exclude}
        return {name: _plain(getattr(self, name), own.get(name)) for name in names if name not in left_out}


def _plain(value: Any, given: Any) -> Any:
    if isinstance(value, Section):
        return value.plain(given)
    return list(value) if isinstance(value, tuple) else value


class OpenSection(Section):
    """A mapping whose keys PaddleOCR's own code knows; that code checks them when it is built from them."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class ReadAs:
    """Annotates a mapping that a section describes and that remains a mapping."""

    section: type[Section]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by the section, and turn the result into plain values."""
        return core_schema.no_info_wrap_validator_function(
            lambda value, read: read(value).plain(value), handler.generate_schema(self.section)
        )


def fault(text: str, key: str = "") -> PydanticCustomError:
    """Make an error about several keys; `key` is the one that it is reported at, where that is below the model's."""
    return PydanticCustomError(FAULT, "{fault}", {"fault": text, "key": key})


def refuse_unless(condition: bool, detail: str = "") -> None:
    """Raise ValueError with `detail`, which says what is wrong where the value alone does not."""
    if not condition:
        raise ValueError(detail)


def whole(low: int, high: int = MOST, *, step: int = 1) -> Any:
    """Return the bounds of an integer, both included."""
    bounds = f"of at least {low}" if high > _TELLING else f"from {low} to {high}"
    multiple = f", a multiple of {step}" if step > 1 else ""
    text = f"a whole number {bounds}{multiple}"
    return Field(strict=True, ge=low, le=high, multiple_of=step if step > 1 else None, description=text)


def real(low: float, high: float, *, above: bool = False, below: bool = False) -> Any:
    """Return the bounds of a `Number`; `above`, `below`: without the bound itself."""
    lower = f"above {low:g}" if above else f"of at least {low:g}"
    text = f"a number {lower} and {'below' if below else 'at most'} {high:g}"
    return Field(
        gt=low if above else None,
        ge=None if above else low,
        lt=high if below else None,
        le=None if below else float(high),  # `text` names it, unlike the bound of a large `whole`
        description=text,
    )


def expected(text: str) -> Any:
    """Say what is expected where the type does not tell."""
    return Field(description=text)


def described(kind: Any) -> str:
    """Return the words for what a type takes; "" where it has none."""
    if getattr(kind, "description", None):
        return str(kind.description)
    if get_origin(kind) is Literal:
        return one_of(get_args(kind))
    parts = (kind.annotation, *kind.metadata) if isinstance(kind, FieldInfo) else get_args(kind)
    return next(filter(None, map(described, reversed(parts))), "")


def one_of(names: Sequence[str]) -> str:
    """Say that one of `names` is expected."""
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def to_number(value: Any) -> float:
    """Return `value` as a finite number; YAML 1.1 reads `1e-3` as text, people mean the number."""
    if isinstance(value, str) and len(value) < 100 and _NUMBER.fullmatch(value):
        value = float(value)
    refuse_unless(isinstance(value, (int, float)) and not isinstance(value, bool))
    refuse_unless(-(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value), "beyond 64 bits")
    refuse_unless(value == 0 or abs(value) >= _SMALLEST, f"nearer to 0 than {_SMALLEST:g}, which counts as 0")
    return value


def _to_flag(value: Any) -> bool:
    refuse_unless(isinstance(value, bool))
    return value


def _to_off(value: Any) -> bool:
    refuse_unless(value is False)
    return value


def _to_text(value: Any) -> str:
    refuse_unless(isinstance(value, str) and value.strip() != "")
    found = name_fault(value)
    refuse_unless(found is None, f"it {found}")
    return value


def _to_path(value: Any) -> str:
    text = _to_text(value)
    refuse_unless(not text.startswith("~"), "only a shell knows ~: write the path of the home folder out")
    return text


def _to_characters(value: Any) -> str:
    refuse_unless(isinstance(value, str) and value != "")
    found = text_fault(value, most=100)
    refuse_unless(found is None, f"it {found}")
    return value


def _never(value: Any) -> None:
    raise ValueError


def _ordered(items: Items) -> Items:
    refuse_unless(items[0] <= items[1], "the first is larger than the second")
    return items


def _ascending(items: Items) -> Items:
    refuse_unless(all(a < b for a, b in zip(items, items[1:])), "not ascending, or one twice")
    return items


Flag = Annotated[bool, PlainValidator(_to_flag), expected("true or false")]
Never = Annotated[None, PlainValidator(_never)]
Off = Annotated[bool, PlainValidator(_to_off)]
Text = Annotated[str, PlainValidator(_to_text), expected("text")]
PathText = Annotated[str, PlainValidator(_to_path), expected("a path")]
Characters = Annotated[str, PlainValidator(_to_characters), expected("one or more characters")]
Number = Annotated[float, PlainValidator(to_number)]  # an integer stays one
ZeroToOne = Annotated[Number, real(0, 1)]
BelowOne = Annotated[Number, real(0, 1, below=True)]
Fraction = Annotated[Number, real(0, 1, above=True, below=True)]
Tiny = Annotated[Number, real(0, 1, above=True)]  # added so that nothing is divided by zero
Weight = Annotated[Number, real(0, 1e6)]  # of a part of a loss

# Annotations of lists
ORDERED = AfterValidator(_ordered)  # of two
ASCENDING = AfterValidator(_ascending)
TWO = Field(min_length=2, max_length=2)
SOME = Field(min_length=1, max_length=MOST_ITEMS)
ONE_OR_MORE = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
