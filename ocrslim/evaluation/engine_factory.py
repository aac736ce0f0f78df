"""AutoEngine of a configuration, for evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from ocrslim.config import Config
from ocrslim.data import EvalSet
from ocrslim.inference import AutoEngine, DygraphEngine, Engine, is_inference_folder, open_exported
from ocrslim.pruning import load_network


def open_engine(config: Config) -> Engine:
    """What `Global.pretrain_weights` names, ready to run: an exported folder as it is, or a network in dygraph."""
    if config.weights and is_inference_folder(config.weights):
        return open_exported(config.weights, config.task)
    return DygraphEngine(load_network(config).model)


def scoring_engine(config: Config) -> Callable[[EvalSet], AbstractContextManager[Engine]]:
    """As `open_engine`, for images that are known: a network runs on the fast runtime where that pays."""
    if config.weights and is_inference_folder(config.weights):
        engine = open_exported(config.weights, config.task)
        return lambda _: contextlib.nullcontext(engine)
    return AutoEngine(load_network(config).model, config.task).engine
