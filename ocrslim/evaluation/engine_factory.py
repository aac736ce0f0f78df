"""Engines for the network that a configuration names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from ocrslim.config import Config
from ocrslim.data import EvalSet
from ocrslim.inference import AutoEngine, DygraphEngine, Engine, is_runnable, open_exported
from ocrslim.pruning import load_network


def open_engine(config: Config) -> Engine:
    """Open `Global.pretrain_weights`: an exported network in its own runtime, anything else in dygraph."""
    if config.weights and is_runnable(config.weights):
        return open_exported(config.weights, config.task)
    return DygraphEngine(load_network(config).model)


def scoring_engine(config: Config) -> Callable[[EvalSet], AbstractContextManager[Engine]]:
    """Open `Global.pretrain_weights` for evaluation, and return a function from the images to an engine.

    A checkpoint runs on the compiled runtime where that is faster for so many images.
    """
    if config.weights and is_runnable(config.weights):
        engine = open_exported(config.weights, config.task)
        return lambda _: contextlib.nullcontext(engine)
    return AutoEngine(load_network(config).model, config.task).engine
