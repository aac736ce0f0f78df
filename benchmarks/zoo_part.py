"""One architecture of PaddleOCR in a process of its own: built, traced, grouped, proven, and put to the oracle.

    python benchmarks/zoo_part.py REQUEST.json ANSWER.json

The answer is written anew after each stage, so that what is known stays known when the process is ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import yaml
from channel_graph import reasons
from oracle import TOGETHER, judge, run
from paddle import Tensor, nn

from ocrslim.config import Config, load_config
from ocrslim.config.translation import other_purpose
from ocrslim.errors import OcrSlimError
from ocrslim.graph import ChannelGraph, TrainingForward, trace
from ocrslim.models import build_model
from ocrslim.ppocr import KEY
from ocrslim.pruning import measure_cost
from ocrslim.pruning.proof.random_weights import random_weights
from ocrslim.pruning.proof.runs import Run
from ocrslim.pruning.prunable import model_graph
from ocrslim.utils import cause_of, write_json

_ACTIVATIONS = "products of activations whose channels stay"
_LEAST_SHARE = 0.0005  # of the MACs, for a reason to be told
_REASONS = 4
GIB = 1 << 30


class Part:
    """One architecture and what is known of it so far.

    Attributes:
        answer: stage, figures and faults, as JSON.
    """

    def __init__(self, request: dict[str, Any], path: Path):
        self.answer: dict[str, Any] = {"stage": "", "seconds": {}}
        self._request, self._path, self._said = request, path, _Said()
        logging.getLogger("ocrslim").addHandler(self._said)

    def run(self) -> None:
        """Take every stage that the one before makes possible."""
        with self._stage("configuration"):
            config = self._configuration()
            self._note(input=list(config.task.nominal_shape), probe=list(config.task.probe_shape))
        with self._stage("build"):
            paddle.seed(0)
            architecture = config.section("Architecture")
            model = build_model(architecture)
        with self._stage("groups"):
            graph = model_graph(model, config.task, config.tree)
            self._note(**_figures(graph), training=self._training(model, graph, config))
        with self._stage("oracle"):
            self._note(oracle=_oracle(model, graph, config.task.probe_shape, architecture))
        self._note(stage="done", memory_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB, 1))

    def _configuration(self) -> Config:
        """The configuration as it is; where that is refused, what its network follows from."""
        named = [f"{KEY}={self._request['checkout']}"] if self._request["checkout"] else []
        if self._request["path"]:
            try:
                return load_config(self._request["path"], named)
            except OcrSlimError as error:
                self._note(refused=_lines(error, self._request["path"]))
        with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
            tree = dict(self._request["tree"])
            if other_purpose(tree) is None:
                tree.pop("Metric", None)  # one that is not known says nothing of the network
            yaml.safe_dump(tree, file, allow_unicode=True)
            file.flush()
            try:
                return load_config(file.name, named)
            except OcrSlimError as error:
                raise OcrSlimError("\n".join(_lines(error, file.name))) from error

    def _training(self, model: nn.Layer, graph: ChannelGraph, config: Config) -> str:
        """How far the training forward could be looked at: "traced", "run", or why not even that."""
        if graph.training_fault:
            return graph.training_fault
        if not self._said.warnings:
            return "traced"
        task = config.task
        step = TrainingForward([task.probe_shape], task.probe_labels(config.tree), task.forward)
        return "run" if trace(model, task.probe_shape, training=step).training_fault else "traced"

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Time a stage; where it fails, keep why and end the process."""
        self._note(stage=name)
        start = time.perf_counter()
        try:
            yield
        except Exception as error:  # whatever PaddleOCR's code raises
            self._note(fault=_cause(error), said=self._said.warnings)
            sys.exit(1)
        finally:
            self.answer["seconds"][name] = round(time.perf_counter() - start, 1)
        self._note(said=self._said.warnings)

    def _note(self, **values: Any) -> None:
        self.answer.update(values)
        write_json(self._path, self.answer)


class _Said(logging.Handler):
    """Keeps what the library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings.append(record.getMessage())


def _lines(error: OcrSlimError, path: str) -> list[str]:
    """What an error says of a file, which the table names."""
    return [line.replace(f"{path}: ", "") for line in str(error).splitlines()]


def _cause(error: Exception) -> str:
    if isinstance(error, OcrSlimError):
        return "; ".join(str(error).splitlines())
    return f"{type(error).__name__}: {cause_of(error)}"


def _figures(graph: ChannelGraph) -> dict[str, Any]:
    cost = measure_cost(graph)
    why = [one for one in reasons(graph) if one["macs_share"] > _LEAST_SHARE]
    rest = 1 - graph.prunable_macs_share - sum(one["macs_share"] for one in why)
    if rest > _LEAST_SHARE:
        why.append({"reason": _ACTIVATIONS, "layers": 0, "macs_share": rest, "first": ""})
    return {
        "macs": cost.macs,
        "params": cost.params,
        "groups": len(graph.groups),
        "units": sum(group.size for group in graph.groups.values()),
        "prunable_macs_share": graph.prunable_macs_share,
        "unprunable": sorted(why, key=lambda one: -one["macs_share"])[:_REASONS],
        "uncounted": list(graph.uncounted),
    }


def _oracle(
    model: nn.Layer, graph: ChannelGraph, shape: Sequence[int], architecture: Mapping[str, Any]
) -> dict[str, Any]:
    """All groups at 30 and 50 %, pruned against silenced, with weights in range, at random.

    In double precision; in single, built anew, where the network's code does not bear that. The model is as good as
    gone afterwards.
    """
    if not graph.groups:
        return {"checks": 0, "changed": 0, "worst": None, "faults": {}}
    try:
        with _single_is_double():
            return {"precision": "float64", **_verdict(_to_double(model), graph, shape)}
    except Exception as error:  # whatever PaddleOCR's code raises
        paddle.set_default_dtype("float32")
        found = _verdict(build_model(architecture), graph, shape)
        return {"precision": "float32", "why": _cause(error), **found}


def _verdict(model: nn.Layer, graph: ChannelGraph, shape: Sequence[int]) -> dict[str, Any]:
    model.eval()
    image = paddle.to_tensor(np.random.default_rng(1).standard_normal(shape)).astype(paddle.get_default_dtype())
    with random_weights(model, Run(lambda network, inputs: network(*inputs), [image])):
        finite = all(np.isfinite(one).all() for one in run(model, [image]))
        verdict = judge(model, graph, [image], ratios=(), together=TOGETHER)
    return {
        "checks": verdict.checks,
        "changed": verdict.changed,
        "worst": verdict.worst if finite else None,
        "faults": verdict.faults if finite else {"all": "outputs are not finite, and cannot be compared"},
    }


@contextlib.contextmanager
def _single_is_double() -> Iterator[None]:
    """Inside the block, what makes tensors of single precision because code says so makes them of double precision."""
    places = [(paddle, name) for name in ("to_tensor", "full", "zeros", "ones", "arange", "linspace", "cast")]
    places += [(paddle.nn.functional, "one_hot"), (Tensor, "astype"), (Tensor, "cast")]
    before = [(place, name, getattr(place, name)) for place, name in places]
    widen = Tensor.astype

    def widened(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*arguments: Any, **named: Any) -> Tensor:
            found = function(*arguments, **named)
            return widen(found, "float64") if found.dtype == paddle.float32 else found

        return call

    for place, name, function in before:
        setattr(place, name, widened(function))
    try:
        yield
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def _to_double(model: nn.Layer) -> nn.Layer:
    """The network with all that it holds and its code makes in double precision, tensors kept as attributes too."""
    layers = model.sublayers(include_self=True)
    for buffers in (layer._buffers for layer in layers):
        for name, value in list(buffers.items()):
            if value is not None and not value._is_initialized():  # as an RNN's that has not trained yet
                buffers[name] = paddle.zeros(value.shape, value.dtype)
    model.to(dtype="float64")
    paddle.set_default_dtype("float64")
    for layer in layers:
        for name, value in list(vars(layer).items()):
            if isinstance(value, Tensor) and value.dtype == paddle.float32:
                vars(layer)[name] = value.astype("float64")
    return model


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    limit = int(request["gib"] * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    Part(request, Path(sys.argv[2])).run()


if __name__ == "__main__":
    main()
