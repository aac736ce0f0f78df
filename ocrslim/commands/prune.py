"""The command `prune`: stage 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ocrslim.config import Config
from ocrslim.selection import Choice, NothingToPrune, choose, prune_and_train

T = TypeVar("T")


def run_prune(config: Config) -> dict[str, Any]:
    """Stage 2: plan from the table, surgery, refit, fine-tuning -> a checkpoint with its plan."""
    result = _with_reasons(lambda: prune_and_train(config, on_choice=_show))
    print(result.training.summary())
    return result.to_json()


def run_dry(config: Config) -> dict[str, Any]:
    """Choose and print the plan that `run_prune` would apply; nothing is changed or written."""
    choice = _with_reasons(lambda: choose(config))
    _show(choice)
    print("\ndry run: nothing was pruned and nothing written", flush=True)
    return {"dry_run": True, **choice.to_json()}


def _show(choice: Choice) -> None:
    print(choice.summary, flush=True)


def _with_reasons(work: Callable[[], T]) -> T:
    """Print the layers with the reasons where none of them may be pruned."""
    try:
        return work()
    except NothingToPrune as error:
        print(error.layers, flush=True)
        raise
