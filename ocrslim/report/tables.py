"""Reports for people: tables for the terminal, detections drawn on images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate

from ocrslim.utils import listed

if TYPE_CHECKING:
    from ocrslim.graph import ChannelGraph


def groups_text(graph: ChannelGraph, architecture: Mapping[str, Any], input_shape: Sequence[int]) -> str:
    """Return every group with its members, this slice here -> that slice there; the other layers; the prunable share.

    Args:
        input_shape: [N, C, H, W] that the costs of `graph` were counted at.
    """
    from ocrslim.models import to_public  # with Paddle, which reports from files do without

    blocks = []
    for name, group in graph.groups.items():
        units = f" in {group.size} units" if group.size != group.channels else ""
        share = f"made with {graph.macs_of(group) / graph.macs:.1%} of all MACs"
        here = f"{group.master.place()} ->"
        rows = [(here, to_public(m.key, architecture), m.place(), m.role) for m in group.members]
        table = textwrap.indent(tabulate(rows, tablefmt="plain"), "    ")
        blocks.append(f"{to_public(name, architecture)}: {group.channels} channels{units}, {share}\n{table}")
    kept = [(to_public(key, architecture), reason) for key, reason in graph.unprunable.items()]
    blocks.append(tabulate(kept, headers=("not prunable", "reason")))
    share = f"{graph.prunable_macs_share:.2%} of the {graph.macs:,} MACs at {'x'.join(map(str, input_shape[2:]))}"
    blocks.append(f"{len(graph.groups)} groups; {share} lie in layers whose output channels are in one")
    if graph.uncounted:
        blocks.append(f"not counted, as it depends on the data: {listed(graph.uncounted)}")
    return "\n\n".join(blocks)


def decisions_table(layers: Mapping[str, Any], tolerance: float, images: int) -> str:
    """Return the ratio that each layer may lose, those that may lose most first, and what it is known from.

    Args:
        layers: the entry `layers` of `sen.json`.
    """
    rows = []
    for name, layer in sorted(layers.items(), key=lambda entry: -entry[1]["ratio"]):
        points = layer["points"].values()
        measured = sum(point["images"] == images for point in points)
        sampled = sum(0 < point["images"] < images for point in points)
        low, high = layer["between"]
        cost = sum(point["images"] for point in points) / images
        known = f"{low:.2f} .. {high:.2f}" + ("" if layer["settled"] else "  not settled")
        rows.append((name, f"{layer['ratio']:.3f}", known, measured, sampled, f"{cost:.2f}"))
    headers = ("layer", f"ratio at loss {tolerance:g}", "between", "measured", "sampled", "passes over the images")
    return tabulate(rows, headers=headers, disable_numparse=True)


def plan_table(
    graph: ChannelGraph,
    ratios: Mapping[str, float],
    skipped: Mapping[str, str],
    architecture: Mapping[str, Any],
    losses: Mapping[str, float],
    title: str = "loss alone",
) -> str:
    """Return the pruned groups with their channels, and below them the layers left alone with their reasons.

    Args:
        losses: of each pruned group alone.
        title: of their column.
    """
    from ocrslim.models import to_public

    pruned = []
    for name, ratio in ratios.items():
        group = graph.groups[name]
        stay = group.master.size - round(group.channels * ratio)
        pruned.append((to_public(name, architecture), group.master.size, stay, f"{ratio:.3f}", f"{losses[name]:.4f}"))
    kept = [(to_public(name, architecture), reason) for name, reason in skipped.items()]
    return "\n\n".join(
        [
            tabulate(pruned, headers=("pruned group", "channels", "stay", "ratio removed", title)),
            tabulate(kept, headers=("left alone", "reason")),
        ]
    )


def comparison_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Two networks side by side: keys are row titles, values numbers; the last column is the change."""
    rows = []
    for title, old in before.items():
        new = after[title]
        rows.append((title, _number(old), _number(new), f"{(new - old) / old:+.1%}" if old else ""))
    return tabulate(rows, headers=("", "before", "after", "change"), disable_numparse=True, stralign="right")


def sensitivity_table(table: Mapping[str, Mapping[float, float]], groups: Sequence[str]) -> str:
    """Return loss by layer and ratio, the most sensitive layer first; layers without a point are left out."""
    groups = [name for name in groups if table.get(name)]
    ratios = sorted({ratio for name in groups for ratio in table[name]})
    order = sorted(groups, key=lambda name: -float(np.mean(list(table[name].values()))))
    rows = [(name, *(_loss(table[name].get(ratio)) for ratio in ratios)) for name in order]
    return tabulate(rows, headers=("loss at ratio", *(f"{r:g}" for r in ratios)), disable_numparse=True)


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
