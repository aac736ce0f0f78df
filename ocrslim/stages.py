"""The commands, each one function of a configuration: the library's pieces put together.

Every function returns a JSON-ready dictionary, which `--json` prints. Checks that take no time come
first, the long work last.
"""

from __future__ import annotations

import contextlib
import filecmp
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import paddle

from ocrslim import finetune, report
from ocrslim.artifacts import check_writable, hash_arrays, scratch_folder
from ocrslim.config import Config
from ocrslim.data import EvalSet, LabelledSet, Preprocessor, scan, scan_evaluation
from ocrslim.distill import Distillation
from ocrslim.engines import DygraphEngine
from ocrslim.errors import ArtifactError, ConfigError, WeightsError
from ocrslim.evaluate import evaluate, post_processor
from ocrslim.event_log import wants_event_log
from ocrslim.export import export
from ocrslim.models import build_model
from ocrslim.models.names import to_public
from ocrslim.network import WEIGHTS, load_network, refuse_pruned, scoring_engine, which_counts
from ocrslim.network_input import NetworkMemory
from ocrslim.pruning.cost import measure_cost
from ocrslim.pruning.plan import Plan
from ocrslim.ranks import Ranks, joined
from ocrslim.runfolder import check_source
from ocrslim.runtime.engine import Engines
from ocrslim.scoring import NOMINAL_SHAPE, detector_graph
from ocrslim.weights import init_backbone, load_weights, read_weights, save_checkpoint, state_arrays

logger = logging.getLogger(__name__)

_BACKBONE = "Global.init_backbone"


def use_device(config: Config) -> None:
    """Select the GPU where `Global.use_gpu` asks for one and Paddle has it; otherwise the CPU, saying so."""
    wanted, possible = bool(config.get("Global.use_gpu")), paddle.is_compiled_with_cuda()
    if wanted and not possible:
        logger.warning("Global.use_gpu is true, but this paddlepaddle has no GPU support: running on the CPU")
    paddle.set_device("gpu" if wanted and possible else "cpu")


def run_groups(config: Config) -> dict[str, Any]:
    """The channel groups of an architecture, and why the other layers have none; weights do not matter."""
    config.require("Architecture")
    architecture = config.section("Architecture")
    if config.weights:
        logger.info("the groups are those of the unpruned architecture; %s is not read", config.weights)
    graph = detector_graph(build_model(architecture))
    print(report.groups_text(graph, architecture, NOMINAL_SHAPE))
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
        "prunable_macs_share": graph.prunable_macs_share,
        "input_shape": list(NOMINAL_SHAPE),
        "macs": cost.macs,
        "params": cost.params,
    }


def run_train(config: Config) -> dict[str, Any]:
    """The training loop without pruning, from `Global.pretrain_weights`, a backbone, or nothing.

    A pruned checkpoint is trained on as it is, with its plan.
    """
    wants_event_log(config)
    config.require("Architecture", "Train", "Eval", "Loss", "Optimizer", "PostProcess")
    check_source(config)
    with joined() as ranks:
        if ranks.first:
            check_writable(config.save_model_dir)
        data = scan_both(config)
        model, plan = _starting_network(config)
        return fit_network(config, model, data, plan, {"weights": hash_arrays(state_arrays(model))}, ranks=ranks)


def _starting_network(config: Config) -> tuple[paddle.nn.Layer, Plan | None]:
    """The network that `train` starts from, and the plan that it is pruned by, if it is."""
    backbone = config.get(_BACKBONE)
    if config.weights and not (backbone and which_counts(config, _BACKBONE, WEIGHTS) == _BACKBONE):
        network = load_network(config)
        return network.model, network.plan
    paddle.seed(config.seed)
    model = build_model(config.section("Architecture"))
    if backbone:
        taken = init_backbone(model, backbone)
        logger.info("%s: %d arrays taken, %d left out", backbone, len(taken.loaded), len(taken.left_out))
        for key, reason in taken.left_out:
            logger.info("  left out %s: %s", key, reason)
    return model, None


def run_export(config: Config) -> dict[str, Any]:
    """Stage 3: checkpoint and plan -> an inference folder, proven against its source."""
    config.require("Architecture", "PostProcess")
    target = config.get("Global.save_inference_dir")
    if not target:
        raise ConfigError(
            f"{config.path}: Global.save_inference_dir is empty; expected a folder: "
            "name it with -o Global.save_inference_dir=inference_model"
        )
    network = load_network(config)
    with _photograph(config) as path:
        image = Preprocessor(config, NetworkMemory(DygraphEngine(network.model)))(path).image
    plan = None if network.plan is None else network.plan.hash()
    origin = {"source": str(network.report.source), "weights": hash_arrays(state_arrays(network.model)), "plan": plan}
    exported = export(network.model, config, Path(target), image, origin)
    worst = max(exported.differences.values())
    print(f"{exported.folder}: {exported.bytes:,} bytes; largest difference to {network.report.source}: {worst:.1e}")
    return {
        "folder": str(exported.folder),
        "format": exported.format,
        "max_difference": dict(exported.differences),
        "bytes": exported.bytes,
        "pruned": network.plan is not None,
    }


def run_eval(config: Config) -> dict[str, Any]:
    """Score a checkpoint or an exported folder on the evaluation data."""
    config.require("Eval", "PostProcess")
    opened = scoring_engine(config)
    labelled = scan_evaluation(config)
    images, post_process = EvalSet(labelled, config), post_processor(config)
    start = time.monotonic()
    with opened(images) as engine:
        scores = evaluate(engine, images, post_process)
    logger.info("%d images in %.1f s", len(labelled.samples), time.monotonic() - start)
    print("  ".join(f"{name} {value:.6f}" for name, value in scores.items()))
    return {"weights": config.weights, "images": len(labelled.samples), **scores}


def run_import(config: Config, source: Path, destination: Path) -> dict[str, Any]:
    """Convert an ONNX file, an inference folder or a checkpoint to a `.pdparams` of this architecture.

    Beside it lies its configuration, of the same name with `.yml`. What is there already and is something else is
    replaced only with `Global.overwrite`, and what the command reads from never.
    """
    config.require("Architecture")
    if destination.suffix != ".pdparams":
        destination = destination.with_name(destination.name + ".pdparams")
    settings = destination.with_suffix(".yml")
    refuse_pruned(source)
    paddle.seed(config.seed)
    model = build_model(config.section("Architecture"))
    loaded = load_weights(model, source)
    _require_other_files((destination, settings), (loaded.source, config.path))
    check_writable(destination.parent)
    if not config.overwrite:
        _require_same(destination, settings, model, config)
    save_checkpoint(model, destination)
    config.save(settings)
    print(f"{loaded.source} ({loaded.kind}) -> {destination}")
    return {"checkpoint": str(destination), "kind": loaded.kind, "initialised": list(loaded.initialised)}


def _require_other_files(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write over what the import reads from, be it by another name, or over what is no file."""
    for target in filter(Path.exists, targets):
        if not target.is_file():
            raise ArtifactError(f"{target}: is there and is no file, expected a file to write: choose another")
        for source in sources:
            if source.exists() and target.samefile(source):
                raise ArtifactError(f"{target}: the import reads from it ({source}), expected a file of its own")


def _require_same(weights: Path, settings: Path, model: paddle.nn.Layer, config: Config) -> None:
    """Refuse to replace files, but for those that the same import has written before."""
    if not weights.exists() and not settings.exists():
        return
    with scratch_folder() as folder:
        made = folder / settings.name
        config.save(made)
        same = settings.exists() and filecmp.cmp(settings, made, shallow=False)
    if not (same and weights.exists() and _holds(weights, model)):
        there = weights if weights.exists() else settings
        raise ArtifactError(
            f"{there}: is there already, and not by this import, which would replace it: choose another name, "
            "or replace it with -o Global.overwrite=true"
        )


def _holds(path: Path, model: paddle.nn.Layer) -> bool:
    try:
        return hash_arrays(read_weights(path)) == hash_arrays(state_arrays(model))
    except WeightsError:
        return False


def scan_both(config: Config) -> tuple[LabelledSet, LabelledSet]:
    """The images to train on and those to score on, said in a line each."""
    return scan(config, "Train").announce(), scan_evaluation(config)


def fit_network(
    config: Config,
    model: paddle.nn.Layer,
    data: tuple[LabelledSet, LabelledSet],
    plan: Plan | None,
    origin: Mapping[str, str],
    prepare: Callable[[], None] | None = None,
    distillation: Distillation | None = None,
    judge: Callable[[Mapping[str, float]], None] | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Train `model` and say what that brought.

    Args:
        data: the images to train on and those to score on.
        judge: is given the scores of each evaluation.

    The others are those of `finetune.fit`.
    """
    training, evaluation = data
    images, post_process, engines = EvalSet(evaluation, config), post_processor(config), Engines(model)
    origin = {**origin, "training data": training.fingerprint(), "evaluation data": evaluation.fingerprint()}

    def score() -> dict[str, float]:
        with engines.engine(images) as engine:
            found = evaluate(engine, images, post_process)
        if judge is not None:
            judge(found)
        return found

    result = finetune.fit(model, config, training, score, plan, origin, prepare, distillation, ranks)
    start, best, last = (entry.metrics[result.metric] for entry in (result.start, result.best, result.last))
    if result.best.step:
        print(f"{result.metric} {start:.4f} before training, {best:.4f} at step {result.best.step}: {result.weights}")
    else:
        print(
            f"training brought nothing: {result.metric} {start:.4f} before, {last:.4f} after the last step; "
            f"{result.weights} has the weights from before: try a lower learning rate, or more images and epochs"
        )
    return {"checkpoint": str(result.weights), **result.to_json()}


@contextlib.contextmanager
def _photograph(config: Config) -> Iterator[Path]:
    """What an export is proven on: `Global.infer_img` where it exists, else a page that ships with scikit-image."""
    named = config.get("Global.infer_img")
    if named and Path(named).is_file():
        yield Path(named)
        return
    if named:
        logger.info("Global.infer_img: %s not found; the export is proven on a page from scikit-image", named)
    import skimage
    from PIL import Image

    with scratch_folder() as folder:
        copy = folder / "page.png"
        with Image.open(Path(skimage.__file__).parent / "data" / "page.png") as image:
            image.save(copy, icc_profile=None)  # libpng complains of its colour profile
        yield copy
