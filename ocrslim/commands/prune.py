"""The command `prune`: stage 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ocrslim.config import Config
from ocrslim.selection import Choice, NothingToPrune, choose, prune_and_train
from ocrslim.utils import is_first_rank

T = TypeVar("T")


def run_prune(config: Config) -> dict[str, Any]:
    """Stage 2: choose a plan, prune, refit and fine-tune; write a checkpoint with its plan."""
    result = with_reasons(lambda: prune_and_train(config, on_choice=_show))
    if is_first_rank():
        print(result.training.summary())
    return result.to_json()


def run_dry(config: Config) -> dict[str, Any]:
    """Choose and print the plan that `run_prune` would apply, without changing or writing anything."""
    choice = with_reasons(lambda: choose(config))
    _show(choice)
    print("\ndry run: nothing was pruned and nothing written", flush=True)
    return {"dry_run": True, **choice.to_json()}


def _show(choice: Choice) -> None:
    print(choice.summary, flush=True)


def with_reasons(work: Callable[[], T]) -> T:
    """Run `work`; if no layer may be pruned, print the layers with the reasons."""
    try:
        return work()
    except NothingToPrune as error:
        print(error.layers, flush=True)
        raise
