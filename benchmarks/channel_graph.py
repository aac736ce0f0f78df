"""The channel graph of the detectors and of networks that others wrote, and PaddleSlim's own beside it.

    PYTHONPATH=tests python benchmarks/channel_graph.py [NETWORK ...] [--all-groups] [--again]

Results go to channel_graph.json beside this file after every network, and from there into the table of
docs/channel_graph.md: interrupt and repeat the command as you like, what is there is not measured again
without --again. Costs are counted at each network's usual input; the oracle (pruned = silenced) runs at a small
one, and takes every fifth group unless --all-groups is given. PaddleSlim's tracer needs paddlepaddle 3.1.1.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import known_networks
import paddle
from oracle import RATIOS, TOGETHER, judge, sample
from paddle import nn
from paths import REPO, portable

from ocrslim.graph.frontends.dygraph import trace
from ocrslim.graph.groups import ChannelGraph
from ocrslim.pruning.channel_graph import channel_graph
from ocrslim.utils.files import write_json

RESULTS = Path(__file__).with_suffix(".json")
DOCS = REPO / "docs/channel_graph.md"
BEGIN, END = "<!-- table: written by benchmarks/channel_graph.py -->", "<!-- end of the table -->"
SAMPLE = 5  # every fifth group
REASONS = 3  # per network, those with the largest share of its MACs
PADDLESLIM_TIMEOUT = 900  # seconds

logger = logging.getLogger("channel_graph")


def main() -> int:
    """Measure what is missing, write table and results; 1 where a pruned network differs from its silenced one."""
    arguments = _arguments()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, force=True)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"networks": {}}
    for name in arguments.networks or (*known_networks.ARCHITECTURES, *known_networks.VISION):
        known = results["networks"].get(name)
        if known and not arguments.again and (known["oracle"]["every"] == 1 or not arguments.all_groups):
            continue
        theirs = known["paddleslim"] if known and not arguments.again else None
        results["networks"][name] = measure(name, 1 if arguments.all_groups else SAMPLE, theirs)
        results["machine"] = machine()
        write_json(RESULTS, results)
        write_table(results)
    write_table(results)
    faults = [name for name, one in results["networks"].items() if one["oracle"]["faults"]]
    if faults:
        logger.error("pruned and silenced differ: %s", ", ".join(faults))
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="names of tests/known_networks.py; all without")
    parser.add_argument("--all-groups", action="store_true", help="run the oracle on every group")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    return parser.parse_args()


def machine() -> dict[str, str]:
    """What it ran on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": f"{len(models)} cores of {models[0].partition(':')[2].strip()}" if models else platform.processor(),
        "python": platform.python_version(),
        "paddlepaddle": paddle.__version__,
    }


def measure(name: str, every: int, theirs: dict[str, Any] | None) -> dict[str, Any]:
    """One network: its graph, the oracle on every `every`-th group, PaddleSlim's figures unless they are known."""
    model = known_networks.settled(name)
    graph, figures = grouped(name, model)
    logger.info("%s: %d groups, %.4f prunable", name, len(graph.groups), graph.prunable_macs_share)
    figures["oracle"] = oracle(model, graph, known_networks.small_shape(name), every)
    figures["paddleslim"] = theirs or paddleslim(name, known_networks.usual_shape(name))
    return figures


def grouped(name: str, model: nn.Layer) -> tuple[ChannelGraph, dict[str, Any]]:
    """The proven graph of a network, and its figures; seconds are CPU time."""
    usual = known_networks.usual_shape(name)
    start = time.process_time()
    trace(model, usual)
    traced = time.process_time()
    graph = channel_graph(model, usual, proof_shapes=[known_networks.small_shape(name)])
    again = time.process_time() - traced
    return graph, {
        "input": list(usual),
        "macs": graph.macs,
        "layers": len({layer.key for layer in graph.layers}),
        "groups": len(graph.groups),
        "units": sum(group.size for group in graph.groups.values()),
        "prunable_macs_share": graph.prunable_macs_share,
        "trace_seconds": round(traced - start, 2),
        "trace_and_proof_seconds": round(again, 2),
        "unprunable": reasons(graph),
    }


def reasons(graph: ChannelGraph) -> list[dict[str, Any]]:
    """Why the rest is not prunable: reasons with layers and share of the MACs, the costliest first."""
    found: dict[str, dict[str, Any]] = {}
    macs: dict[str, int] = {}
    for layer in graph.layers:
        macs[layer.key] = macs.get(layer.key, 0) + layer.macs
    for key, reason in graph.unprunable.items():
        one = found.setdefault(reason, {"reason": reason, "layers": 0, "macs_share": 0.0, "first": key})
        one["layers"] += 1
        one["macs_share"] += macs.get(key, 0) / graph.macs
    return sorted(found.values(), key=lambda one: -one["macs_share"])


def oracle(model: nn.Layer, graph: ChannelGraph, shape: known_networks.Shape, every: int) -> dict[str, Any]:
    """Largest difference between pruned and silenced network, relative to the largest output, in double precision.

    In single precision rounding alone comes to 1.7e-5 in networks of fifty layers.
    """
    start = time.perf_counter()
    names = list(graph.groups)[::every]
    some = replace(graph, groups={name: graph.groups[name] for name in names})
    model.to(dtype="float64")
    inputs = [image.astype("float64") for image in sample(shape)]
    output = _logits(model) if hasattr(model, "head") else None
    alone = judge(model, some, inputs, ratios=RATIOS, together=(), output=output)
    together = judge(model, graph, inputs, ratios=(), together=TOGETHER, output=output)
    faults = {**alone.faults, **together.faults}
    worst = max(alone.worst, together.worst)
    logger.info("oracle: %d groups, worst %.1e, %d faults", len(names), worst, len(faults))
    return {
        "input": list(shape),
        "every": every,
        "groups": len(names),
        "checks": alone.checks + together.checks,
        "changed": alone.changed + together.changed,
        "worst": worst,
        "faults": faults,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _logits(model: nn.Layer) -> Callable[..., Any]:
    """A detector's map before its sigmoid, which would squash differences."""

    def call(*inputs: paddle.Tensor) -> Any:
        seen: list[Any] = []
        hook = model.head.binarize.conv3.register_forward_post_hook(lambda layer, given, made: seen.append(made))
        model(*inputs)
        hook.remove()
        return seen

    return call


def paddleslim(name: str, shape: known_networks.Shape) -> dict[str, Any]:
    """What PaddleSlim's own tracer finds, in a process of its own; `fails` where it finds nothing."""
    script = REPO / "tests/paddleslim_reference.py"
    request = {"network": name, "input_shape": shape, "criteria": ["l1"], "ratios": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "tests")])}
        command = [sys.executable, str(script), str(path)]
        try:
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PADDLESLIM_TIMEOUT)
        except subprocess.TimeoutExpired:
            return {"fails": f"no answer in {PADDLESLIM_TIMEOUT} s"}
    if run.returncode != 0:
        return {"fails": _last_line(run.stderr) or f"exit code {run.returncode}"}
    answer = json.loads(run.stdout.splitlines()[-1])
    logger.info("PaddleSlim: %d groups, %.4f prunable", len(answer["groups"]), answer["macs_share"])
    return {"groups": len(answer["groups"]), "macs_share": answer["macs_share"]}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return portable(lines[-1])[:160] if lines else ""


def write_table(results: dict[str, Any]) -> None:
    """Put the table between its markers in docs/channel_graph.md."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    order = (*known_networks.ARCHITECTURES, *known_networks.VISION)
    rows = [_row(name, results["networks"][name]) for name in order if name in results["networks"]]
    DOCS.write_text(f"{before}{BEGIN}\n{_table(rows)}\n{_machine_line(results)}\n{END}{after}", encoding="utf-8")


def _table(rows: Iterable[list[str]]) -> str:
    head = [
        *("network", "input", "GMAC", "groups", "units", "prunable MACs"),
        *(
            "PaddleSlim: groups",
            "its MACs",
            "trace and group, s",
            "with proof, s",
            "oracle: groups",
            "worst",
            "why the rest stays",
        ),
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _row(name: str, one: dict[str, Any]) -> list[str]:
    theirs = one["paddleslim"]
    slim = [f"fails: {_cell(theirs['fails'])}", ""] if "fails" in theirs else _slim(theirs)
    oracle = one["oracle"]
    costly = [reason for reason in one["unprunable"] if reason["macs_share"] > 0]
    return [
        f"`{name}`",
        "x".join(map(str, one["input"][2:])),
        f"{one['macs'] / 1e9:.3f}" if one["macs"] > 1e8 else f"{one['macs'] / 1e9:.5f}",
        str(one["groups"]),
        str(one["units"]),
        f"{one['prunable_macs_share']:.2%}",
        *slim,
        f"{one['trace_seconds']:.1f}",
        f"{one['trace_and_proof_seconds']:.1f}",
        "all" if oracle["every"] == 1 else f"{oracle['groups']} of {one['groups']}",
        f"{len(oracle['faults'])} faults" if oracle["faults"] else f"{oracle['worst']:.0e}",
        "; ".join(
            f"{_cell(reason['reason'])} ({_layers(reason)}, {reason['macs_share']:.2%})" for reason in costly[:REASONS]
        ),
    ]


def _slim(theirs: dict[str, Any]) -> list[str]:
    return [str(theirs["groups"]), f"{theirs['macs_share']:.2%}"]


def _layers(reason: dict[str, Any]) -> str:
    return f"`{reason['first']}`" if reason["layers"] == 1 else f"{reason['layers']} layers"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _machine_line(results: dict[str, Any]) -> str:
    there = results.get("machine")
    if not there:
        return ""
    return (
        f"\n{there['cpu']}, Python {there['python']}, paddlepaddle {there['paddlepaddle']}. Seconds are CPU time of "
        "one process, as the machine had other work to do; each run's first network pays for Paddle's warm-up."
    )


if __name__ == "__main__":
    sys.exit(main())
