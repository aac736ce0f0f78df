"""Where the costs of a network are, layer by layer, before and after pruning."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

from ocrslim import __version__
from ocrslim.models import to_public
from ocrslim.pruning import PrunableNetwork, measure_cost, pruned_layers
from ocrslim.report import Costs, LayerCost
from ocrslim.selection.chooser import Choice
from ocrslim.selection.latency.model import LatencyCost
from ocrslim.selection.latency.target import place_text
from ocrslim.selection.overview.curves import removed_units
from ocrslim.utils import processor

_DISTRIBUTIONS = ("paddlepaddle", "paddlepaddle-gpu", "paddleslim", "paddleocr", "numpy", "onnxruntime", "openvino")


def costs_of(
    network: PrunableNetwork,
    choice: Choice,
    latency: LatencyCost | None = None,
    unpruned: float | None = None,
    first: Mapping[str, int] | None = None,
) -> Costs:
    """Describe the costs before and after a plan, and what the run depends on.

    Args:
        network: before pruning.
        latency: predicts milliseconds; None where the machine was not measured.
        unpruned: score of the unpruned network, where no sensitivity table tells.
        first: `macs_before` and `params_before` of the first of several rounds.
    """
    config, graph, cuts = network.config, network.graph, choice.plan.cuts
    before, after = measure_cost(graph), measure_cost(graph, cuts)
    first = first or {}
    layers, rest = _layers(network, choice, latency)
    return Costs(
        size=list(config.task.nominal_shape[2:]),
        macs=[first.get("macs_before", before.macs), after.macs],
        params=[first.get("params_before", before.params), after.params],
        layers=layers,
        rest_ms=rest,
        place=place_text(config) if latency is not None else None,
        rounds=config.prune.rounds,
        latency=dict(choice.latency),
        metric=config.main_indicator,
        unpruned=unpruned,
        criterion=config.prune.criterion,
        versions=_versions(),
        machine=_machine(),
        seed=config.seed,
        task=config.task.model_type,
    )


def _layers(
    network: PrunableNetwork, choice: Choice, latency: LatencyCost | None
) -> tuple[list[LayerCost], float | None]:
    graph, architecture = network.graph, network.config.section("Architecture")
    times: list[list[float]] | None = None
    rest = None
    if latency is not None:
        none = 0 * removed_units(network, choice.selection)
        (full, rest), (left, _) = latency.by_layer(none), latency.by_layer(removed_units(network, choice.selection))
        times = [list(pair) for pair in zip(full[0].tolist(), left[0].tolist())]
    found = []
    for place, (layer, pruned) in enumerate(zip(graph.layers, pruned_layers(graph, choice.plan.cuts))):
        found.append(
            LayerCost(
                name=to_public(layer.key, architecture) if layer.key else "product of activations",
                kind=layer.kind,
                shapes=[list(layer.shape), list(pruned.shape)],
                macs=[layer.macs, pruned.macs],
                ms=times[place] if times is not None else None,
            )
        )
    return found, rest


def _versions() -> dict[str, str]:
    """Versions of ocrslim, Python and the libraries that results depend on."""
    found = {"ocrslim": __version__, "python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, str]:
    return {"processor": processor(), "system": f"{platform.system()} {platform.machine()}"}
