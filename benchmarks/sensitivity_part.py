"""One part of the benchmark of the sensitivity analysis, in a process of its own.

    python benchmarks/sensitivity_part.py REQUEST.json

Started by `benchmarks/sensitivity.py`, which says in the request what to do (`way`: "paddleslim", "ours", either
also with " groups" behind it, or "peak"), with what (`data`, `images`, `groups`, `ratios`, `mode`, `workers`) and in
which folder. The answer goes to `answer.N.json` there, N being the rank. Losses and counts are keyed by
"state-dict key|ratio".
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import die_with_parent
from paths import REPO, SHIPPED_CONFIG, package_weights

BEGAN = time.monotonic()
SHARED = REPO.parent / "shared/data"
RESIZE = {"sroie": "{limit_side_len: 960, limit_type: max}", "icdar2015": "{image_shape: [736, 1280]}"}
_SIDE, _RUNS = 3072, 12

Answer = dict[str, Any]


def main() -> None:
    """Do what the request says."""
    die_with_parent()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ocrslim").setLevel(logging.INFO)
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = _run(request)
    rank = os.environ.get("PADDLE_TRAINER_ID", "0")
    path = Path(request["folder"]) / f"answer.{rank}.json"
    path.with_suffix(".part").write_text(json.dumps(answer), encoding="utf-8")
    path.with_suffix(".part").replace(path)


def point(group: str, ratio: float) -> str:
    """The key of a point."""
    return f"{group}|{ratio:g}"


def configuration(request: Answer) -> Any:
    """The shipped configuration with the request's images, layers, ratios and mode."""
    from ocrslim.config.config import load_config

    folder, data = Path(request["folder"]), SHARED / request["data"]
    lines = (data / "val.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    labels = folder / f"val{request['images']}.txt"
    labels.write_text("".join(lines[: request["images"]]), encoding="utf-8")
    options = [
        "Global.use_gpu=false",
        f"Global.pretrain_weights={package_weights()}",
        f"Global.save_model_dir={folder}",
        f"Eval.dataset.data_dir={data}/images",
        f"Eval.dataset.label_file_list=[{labels}]",
        f"Eval.dataset.transforms.DetResizeForTest={RESIZE[request['data']]}",
    ]
    if request.get("ratios"):
        options.append(f"Prune.ratios={request['ratios']}")
    if request.get("groups"):
        options.append(f"Prune.layers={json.dumps(request['groups'])}")
    for key in ("mode", "workers"):
        if request.get(key):
            options.append(f"Prune.{key}={request[key]}")
    return load_config(REPO / SHIPPED_CONFIG, options)


def peak(folder: Path) -> Answer:
    """What float32 matrix products reach on all cores, GFLOP/s: the best of a dozen runs, and the median.

    By NumPy (OpenBLAS), 3072 x 3072 squared; and by oneDNN as four convolutions of 1x1, each the product of 512 x 512
    and 512 x 4096, in Paddle Inference. The peak is the higher one.
    """
    import numpy as np

    one = np.random.default_rng(0).standard_normal((_SIDE, _SIDE)).astype(np.float32)
    numpy = _rates(lambda: one @ one, 2 * _SIDE**3)
    onednn = _rates(_convolutions(folder), 4 * 2 * 512 * 512 * 4096)
    return {"gflops": max(numpy[0], onednn[0]), "numpy": numpy, "onednn": onednn}


def _convolutions(folder: Path) -> Callable[[], Any]:
    """A pass through four convolutions of 1x1 on all cores."""
    from ocrslim.utils.paddle_setup import import_paddle

    import_paddle()
    import numpy as np
    import paddle

    from ocrslim.inference.engines import InferenceEngine

    net = paddle.nn.Sequential(*(paddle.nn.Conv2D(512, 512, 1) for _ in range(4)))
    shape = [1, 512, 64, 64]
    paddle.jit.save(net, str(folder / "inference"), input_spec=[paddle.static.InputSpec(shape, "float32")])
    engine = InferenceEngine(folder, threads=len(os.sched_getaffinity(0)), onednn=True)
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return lambda: engine(image)


def _rates(work: Callable[[], Any], operations: int) -> list[float]:
    """GFLOP/s of the fastest run and of the median one."""
    times = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return [operations / seconds / 1e9 for seconds in (min(times), statistics.median(times[1:]))]


def _run(request: Answer) -> Answer:
    if request["way"] == "peak":
        return peak(Path(request["folder"]))
    if request["way"].startswith("paddleslim"):
        import sensitivity_paddleslim as paddleslim

        return paddleslim.groups(request) if request["way"].endswith("groups") else paddleslim.measure(request)
    import sensitivity_ours as ours

    return ours.groups(request) if request["way"].endswith("groups") else ours.measure(request)


if __name__ == "__main__":
    sys.modules.setdefault("sensitivity_part", sys.modules["__main__"])  # so that it is not run twice
    main()
