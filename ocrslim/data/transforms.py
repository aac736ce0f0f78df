"""The transforms of a configuration: PaddleOCR's operators, checked when built, repeatable when run."""

from __future__ import annotations

import contextlib
import copy
import difflib
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ocrslim.config import Config
from ocrslim.data.image_files import ImageError
from ocrslim.data.stand_in_operators import CopyPaste, Operator, improved
from ocrslim.errors import ConfigError
from ocrslim.tasks.detection.operators import OPERATORS
from ocrslim.utils import shortened


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
            name, operator = _build(entry, config.section("Global"))
            operators.append((name, improved(operator)))
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
        name = type(operator).__name__
        try:
            with np.errstate(divide="ignore", invalid="ignore"):  # PaddleOCR's maps divide by zero on purpose
                data = operator(data)
        except ImageError as error:
            raise TransformError(name, str(error)) from None
        except (Exception, SystemExit) as error:  # foreign code; its resize even calls sys.exit
            raise TransformError(name, f"{type(error).__name__}: {_one_line(error)}") from None
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


def uncropped(operators: Sequence[Operator]) -> list[Operator]:
    """The same operators without chance: no augmentation, and the whole image instead of a crop."""
    from ocrslim.ppocr import imaug

    calm: list[Operator] = []
    for operator in operators:
        if isinstance(operator, (imaug.IaaAugment, CopyPaste)):
            continue
        if isinstance(operator, imaug.EastRandomCropData):
            operator = copy.copy(operator)
            operator.max_tries = 0
        calm.append(operator)
    return calm


def _build(entry: dict[str, Any], global_section: dict[str, Any]) -> tuple[str, Operator]:
    from ocrslim.ppocr import create_operators, imaug

    ((name, arguments),) = entry.items()
    if name not in OPERATORS or not isinstance(getattr(imaug, name, None), type):
        raise ValueError(f"this PaddleOCR has no operator {name!r}")
    if name == "IaaAugment":
        _require_augmenters((arguments or {}).get("augmenter_args") or [])
    try:
        with warnings.catch_warnings():  # albumentations leaves arguments that it does not know with a warning
            warnings.filterwarnings("ignore", category=UserWarning)
            warnings.filterwarnings("error", message=".*not valid for transform", category=UserWarning)
            return name, create_operators([copy.deepcopy(entry)], global_section)[0]
    except Exception as error:  # foreign constructors: whatever they raise, the user's arguments caused it
        raise ValueError(
            f"{name} refuses its arguments {shortened(repr(arguments))}: {type(error).__name__}: {_one_line(error)}"
        ) from None


def _require_augmenters(listed: Sequence[Any]) -> None:
    """Refuse augmenters that there are none of, by name.

    Raises:
        ValueError: such a one, with the nearest.
    """
    import albumentations

    known = {name for name, kind in vars(albumentations).items() if isinstance(kind, type)}
    known |= {"Fliplr", "Flipud", "Affine", "Resize"}  # PaddleOCR's names, some of them imgaug's
    for item in listed:
        kind = str(item["type"] if isinstance(item, dict) else item[0])
        if kind not in known:
            near = difflib.get_close_matches(kind, known, 1)
            hint = f"did you mean {near[0]}?" if near else "see the documentation of albumentations"
            raise ValueError(f"IaaAugment: there is no augmenter {kind!r}: {hint}")


def _generators(operators: Sequence[Operator]) -> Iterator[Any]:
    """The albumentations transforms in `operators`, wherever PaddleOCR hides them, in a fixed order."""
    for operator in operators:
        for value in list(getattr(operator, "__dict__", {}).values()):
            if hasattr(value, "set_random_seed"):
                yield value
                yield from getattr(value, "transforms", [])
            elif type(value).__module__.startswith("ppocr."):
                yield from _generators([value])


def _one_line(error: BaseException) -> str:
    return shortened(" ".join(str(error).split()), 300) or "no reason given"
