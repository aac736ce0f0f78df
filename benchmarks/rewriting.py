"""What the rewriting of exports saves: each network written as it is and rewritten, timed in turns in each runtime.

    python benchmarks/rewriting.py                          # ten minutes of one core
    python benchmarks/rewriting.py --only 'v4 det'          # one network
    python benchmarks/rewriting.py --packages DIR DIR       # where packages are unpacked that are not installed

Networks come from packages: as weights of a configuration here, or as the files that they are. Each is written for
each runtime as `ocrslim export` writes it with Export.runtime and Export.rewrite=false or true, unpruned, and run on
noise in one thread, one pass of each in turn; outputs are compared on a photograph. Times are of the process's CPU,
which others on the machine disturb least; ratios are medians over the rounds. Needs paddle2onnx, onnxruntime and
openvino (pip install -r requirements-dev.txt).

Interrupt it as you like: what was measured on this revision stays in the working folder (output/rewriting), and the
same command goes on. Written to benchmarks/rewriting.json and .md, with another --out into that folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from machine import describe, revision  # noqa: E402
from paths import REPO, portable  # noqa: E402
from rewriting_plan import NETWORKS, Network  # noqa: E402
from rewriting_tables import document  # noqa: E402

OUTPUT, RESULTS = REPO / "output/rewriting", REPO / "benchmarks/rewriting"
_AS_IT_IS, _REWRITTEN = False, True
Answer = dict[str, Any]


def main() -> int:
    """Measure what is not measured yet, write the tables."""
    options = parse()
    command = " ".join(["python benchmarks/rewriting.py", *(f"'{one}'" if " " in one else one for one in sys.argv[1:])])
    from ocrslim.utils import import_paddle

    import_paddle()
    for network in NETWORKS:
        if options.only in network.name:
            answer = measured(network, options)
            print(json.dumps(answer), file=sys.stderr, flush=True)
            write(network.name, {**answer, "revision": revision()}, command, options)
    return 0


def write(name: str, answer: Answer, command: str, options: argparse.Namespace) -> None:
    """Put the figures of one network beside those of the others."""
    target = RESULTS if options.out == OUTPUT else options.out / "rewriting"
    file = target.with_suffix(".json")
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    networks = {**known.get("networks", {}), name: answer}
    networks = {one.name: networks[one.name] for one in NETWORKS if one.name in networks}
    found = {"command": command, "machine": describe(), "versions": versions(), "rounds": options.rounds}
    found = portable({**found, "networks": networks}, *options.packages, options.out)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(document(found), encoding="utf-8")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", nargs="+", type=Path, default=[Path(sysconfig.get_path("purelib"))])
    parser.add_argument("--only", default="", help="a part of the networks' names")
    parser.add_argument("--rounds", type=int, default=15, help="timed passes of each (15)")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="keeps what is measured so far")
    options = parser.parse_args(arguments)
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def versions() -> dict[str, str]:
    """The runtimes' versions."""
    from ocrslim.inference import RUNTIMES

    return {name: runtime.version for name, runtime in RUNTIMES.items()}


def measured(network: Network, options: argparse.Namespace) -> Answer:
    """Return the figures of a network, from the working folder where they are of this revision."""
    path = options.out / f"{network.name.replace(' ', '_').replace(',', '')}.json"
    key = {"revision": revision(), "rounds": options.rounds, "versions": versions()}
    known = json.loads(path.read_text()) if path.is_file() else {}
    if known.get("key") != key:
        known = {"key": key, "answer": measure(network, options)}
        path.write_text(json.dumps(known))
    return known["answer"]


def measure(network: Network, options: argparse.Namespace) -> Answer:
    """Write a network both ways for each runtime, and run it."""
    from ocrslim.export.rewriting import rewriting_for, rewritten_network
    from ocrslim.graph import deployed
    from ocrslim.inference import RUNTIMES
    from ocrslim.pruning import load_network

    config = network.config(options.packages)
    model = load_network(config).model
    made = deployed(model)
    shape = tuple(config.task.nominal_shape)
    answer: Answer = {"source": network.source, "shape": list(shape), "macs": {"as it is": products(made, shape)}}
    for name, kind in (("any size", "onnx"), ("rewritten", "paddle")):
        answer["macs"][name] = products(rewritten_network(made, config.task, rewriting_for(kind, "paddle")), shape)
    answer["runtimes"] = {name: timed(model, config, name, shape, options.rounds) for name in RUNTIMES}
    return answer


def products(model: Any, shape: Sequence[int]) -> int:
    """Multiply-accumulates of the convolutions and linear layers in one pass."""
    import numpy as np
    from paddle import nn

    from ocrslim.inference import DygraphEngine

    counts: list[int] = []

    def count(layer: Any, inputs: Any, output: Any) -> None:
        if isinstance(layer, nn.Linear):
            counts.append(int(output.size) * int(layer.weight.shape[0]))
        else:
            counted = inputs[0] if isinstance(layer, nn.Conv2DTranspose) else output
            counts.append(int(counted.size) * int(np.prod(layer.weight.shape[1:])))

    kinds = (nn.Conv2D, nn.Conv2DTranspose, nn.Linear)
    hooks = [one.register_forward_post_hook(count) for one in model.sublayers() if isinstance(one, kinds)]
    DygraphEngine(model)(np.zeros(shape, np.float32))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def timed(model: Any, config: Any, runtime: str, shape: Sequence[int], rounds: int) -> Answer:
    """Write the network as it is and rewritten for a runtime, compare what both give, and time them in turns."""
    from ocrslim.export import network_for
    from ocrslim.inference import RUNTIMES, BenchSettings, bench, difference

    with tempfile.TemporaryDirectory() as scratch:
        files = []
        for way in (_AS_IT_IS, _REWRITTEN):
            folder = Path(scratch) / str(way)
            folder.mkdir()
            files.append(network_for(runtime, model, with_export(config, runtime=runtime, rewrite=way), folder))
        image = photograph(model, config)
        first, second = (RUNTIMES[runtime].open(file, 1, True)(image) for file in files)
        found = bench(files, config.task, BenchSettings([runtime], [1], [tuple(shape)], rounds))
    if len(found.rows) != len(files):
        return {"fault": "; ".join(dict.fromkeys(found.not_run.values()))}
    before, after = found.rows
    return {
        "file": files[1].suffix,
        "ms": [before.cpu_ms.median, after.cpu_ms.median],
        "ratio": after.cpu_ratio,
        "difference": difference(second, first),
    }


def photograph(model: Any, config: Any) -> Any:
    """The image that exports are proven on."""
    from ocrslim.data import NetworkMemory, Preprocessor
    from ocrslim.export.sample_image import sample_image
    from ocrslim.inference import DygraphEngine

    with sample_image(config) as path:
        return Preprocessor(config, NetworkMemory(DygraphEngine(model), config.task))(path).image


def with_export(config: Any, **changed: Any) -> Any:
    """The configuration with other entries of its section `Export`."""
    return replace(config, tree={**config.tree, "Export": {**config.tree["Export"], **changed}})


if __name__ == "__main__":
    sys.exit(main())
