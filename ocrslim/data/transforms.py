"""The transforms of a configuration: PaddleOCR's operators, checked when built, repeatable when run."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data.image_files import ImageError
from ocrslim.data.stand_in_operators import Resize, improved
from ocrslim.errors import ConfigError
from ocrslim.tasks import Operator, RefusedArguments, Task
from ocrslim.utils import one_line, shortened


def build_operators(config: Config, mode: str) -> list[tuple[str, Operator]]:
    """Build the operators of `<mode>.dataset.transforms`, each with its name.

    Raises:
        ConfigError: operators that PaddleOCR does not have or whose arguments it refuses, all at once.
    """
    key = f"{mode}.dataset.transforms"
    config.require(key)
    operators, problems = [], []
    for position, entry in enumerate(config.get(key)):
        try:
            name, operator = _build(entry, config.task, config.section("Global"))
            operators.append((name, improved(operator, config.task)))
        except ValueError as problem:
            problems.append(f"{key}[{position}]: {problem}")
    if problems:
        raise ConfigError(problems)
    return operators


class TransformError(ValueError):
    """An operator failed, or gave a sample up.

    Attributes:
        operator: its name.
        reason: what it said.
        gave_up: whether it found nothing to work on, which chance may mend, instead of failing.
    """

    def __init__(self, operator: str, reason: str, gave_up: bool = False):
        super().__init__(f"{operator} finds nothing to work on" if gave_up else f"{operator}: {reason}")
        self.operator, self.reason, self.gave_up = operator, reason, gave_up


def run(operators: Sequence[Operator], data: dict[str, Any]) -> dict[str, Any]:
    """Pass `data` through `operators`.

    Raises:
        TransformError: an operator failed or gave the sample up; the message says which and why.
    """
    for operator in operators:
        name = operator.name if isinstance(operator, Resize) else type(operator).__name__
        try:
            with np.errstate(divide="ignore", invalid="ignore"):  # PaddleOCR's maps divide by zero on purpose
                data = operator(data)
        except ImageError as error:
            raise TransformError(name, str(error)) from None
        except (Exception, SystemExit) as error:  # foreign code; its resize even calls sys.exit
            raise TransformError(name, f"{type(error).__name__}: {one_line(error)}") from None
        if data is None:
            raise TransformError(name, "", gave_up=True)
    return data


@contextlib.contextmanager
def seeded(operators: Sequence[Operator], *key: int) -> Iterator[None]:
    """Make what the operators draw depend on `key` alone; the program's own generators stay as they were.

    Seeds `random`, `numpy.random` and the albumentations pipelines inside the operators, which listen to
    neither of the two.
    """
    states = random.getstate(), np.random.get_state()
    sequence = np.random.SeedSequence(key)
    first, second, *rest = (int(word) for word in sequence.generate_state(2 + 64))
    random.seed(first)
    np.random.seed(second)
    for position, part in enumerate(_generators(operators)):
        part.set_random_seed(rest[position % len(rest)])
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _build(entry: dict[str, Any], task: Task, global_section: dict[str, Any]) -> tuple[str, Operator]:
    ((name, arguments),) = entry.items()
    try:
        if name not in task.schema.transforms and not task.schema.open:
            raise RefusedArguments(f"this PaddleOCR has no operator {name!r}")
        with warnings.catch_warnings():  # albumentations leaves arguments that it does not know with a warning
            warnings.filterwarnings("ignore", category=UserWarning)
            warnings.filterwarnings("error", message=".*not valid for transform", category=UserWarning)
            return name, task.build_operator(name, arguments, global_section)
    except RefusedArguments:
        raise
    except Exception as error:  # foreign constructors: whatever they raise, the user's arguments caused it
        raise ValueError(
            f"{name} refuses its arguments {shortened(repr(arguments))}: {type(error).__name__}: {one_line(error)}"
        ) from None


def _generators(operators: Sequence[Operator]) -> Iterator[Any]:
    """The albumentations transforms in `operators`, wherever PaddleOCR hides them, in a fixed order."""
    for operator in operators:
        for value in list(getattr(operator, "__dict__", {}).values()):
            if hasattr(value, "set_random_seed"):
                yield value
                yield from getattr(value, "transforms", [])
            elif type(value).__module__.startswith("ppocr."):
                yield from _generators([value])
