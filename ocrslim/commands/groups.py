"""The command `groups`."""

from __future__ import annotations

import logging
from typing import Any

from ocrslim.config import Config, is_imported
from ocrslim.models import build_model, to_public
from ocrslim.pruning import measure_cost, model_graph
from ocrslim.report import groups_text

logger = logging.getLogger(__name__)


def run_groups(config: Config) -> dict[str, Any]:
    """Print the channel groups of an architecture, or of a model's file, and the unprunable layers."""
    config.require("Architecture")
    architecture = config.section("Architecture")
    if config.weights and not is_imported(config.tree):
        logger.info("the groups are those of the unpruned architecture; %s is not read", config.weights)
    task = config.task
    graph = model_graph(build_model(architecture), task, config.tree)
    print(groups_text(graph, architecture, task.nominal_shape))
    cost = measure_cost(graph)
    return {
        "groups": {
            to_public(name, architecture): {
                "channels": group.channels,
                "units": group.size,
                "members": [
                    {"key": to_public(m.key, architecture), "axis": m.axis, "role": m.role, "positions": m.slices()}
                    for m in group.members
                ],
            }
            for name, group in graph.groups.items()
        },
        "unprunable": {to_public(key, architecture): reason for key, reason in graph.unprunable.items()},
        "uncounted": list(graph.uncounted),
        "prunable_macs_share": graph.prunable_macs_share,
        "input_shape": list(task.nominal_shape),
        "macs": cost.macs,
        "params": cost.params,
    }
