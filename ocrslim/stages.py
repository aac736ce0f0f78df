"""The commands, each one function of a configuration: the library's pieces put together.

Every function returns a JSON-ready dictionary, which `--json` prints. Checks that take no time come
first, the long work last.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import paddle

from ocrslim import finetune, loss_table, report
from ocrslim.artifacts import check_writable, hash_arrays
from ocrslim.calibration import calibration_inputs
from ocrslim.config import Config
from ocrslim.data import EvalSet, LabelledSet, preprocess, scan, scan_evaluation
from ocrslim.distill import Distillation
from ocrslim.engines import DygraphEngine, Engine, InferenceEngine, is_inference_folder
from ocrslim.errors import ConfigError
from ocrslim.evaluate import evaluate, post_processor
from ocrslim.export import export
from ocrslim.models import build_model
from ocrslim.models.names import to_public
from ocrslim.network import load_network, load_unpruned, refuse_pruned
from ocrslim.planning import choose_plan, table_of
from ocrslim.pruning.cost import measure_cost
from ocrslim.pruning.plan import SUFFIX, Plan
from ocrslim.pruning.recover import recover
from ocrslim.pruning.surgery import apply_plan
from ocrslim.ranks import Ranks, joined
from ocrslim.runfolder import check_source
from ocrslim.scoring import NOMINAL_SHAPE, Scored, detector_graph, load_scored
from ocrslim.weights import init_backbone, load_weights, save_checkpoint, state_arrays

logger = logging.getLogger(__name__)

_COLLAPSED = 0.8  # of the unpruned network's score: the receipts were still 5 points short after 900 steps from half


def use_device(config: Config) -> None:
    """Select the GPU where `Global.use_gpu` asks for one and Paddle has it; otherwise the CPU, saying so."""
    wanted, possible = bool(config.get("Global.use_gpu")), paddle.is_compiled_with_cuda()
    if wanted and not possible:
        logger.warning("Global.use_gpu is true, but this paddlepaddle has no GPU support: running on the CPU")
    paddle.set_device("gpu" if wanted and possible else "cpu")


def run_prune(config: Config) -> dict[str, Any]:
    """Stage 2: plan from the table, surgery, fine-tuning -> a checkpoint with its plan."""
    config.require("Architecture", "Train", "Eval", "Loss", "Optimizer", "PostProcess")
    check_source(config)
    with joined() as ranks:
        return _prune(config, ranks)


def _prune(config: Config, ranks: Ranks) -> dict[str, Any]:
    folder = check_writable(config.save_model_dir) if ranks.first else config.save_model_dir
    data = _scan(config)
    scored = load_scored(config, data[0])
    choice = ranks.share(choose_plan(scored) if ranks.first else None)  # it can depend on measured times
    plan, teacher = choice.plan, load_unpruned(config).model
    apply_plan(scored.model, plan)
    distillation = _distillation(config, teacher, scored.model, plan)
    recovery = f"{config.prune.recover_images} images" if config.prune.recover else "none"
    origin = {**plan.origin, "recovery": recovery, "distillation": distillation.settings if distillation else "none"}

    def prepare() -> None:
        _recover(scored, teacher, plan, data[0])

    result = _fit(config, scored.model, data, plan, origin, prepare, distillation, ranks)
    costs = {key: value for key, value in choice.to_json().items() if key in ("predicted_loss", "macs", "params")}
    return {"plan": str(folder / f"best_accuracy{SUFFIX}"), **costs, **result}


def _distillation(
    config: Config, teacher: paddle.nn.Layer, student: paddle.nn.Layer, plan: Plan
) -> Distillation | None:
    """What `student` learns from the network that it was; None where `Prune.distill` has no weight above 0."""
    weights = config.prune.distill
    alpha = float(config.get("Loss.alpha", 5.0))
    return Distillation(teacher, student, plan, weights, alpha) if any(weights.values()) else None


def _recover(scored: Scored, teacher: paddle.nn.Layer, plan: Plan, training: LabelledSet) -> None:
    """Get accuracy back before training: the pruned network's layers are refitted to what they were."""
    if not scored.config.prune.recover:
        return
    inputs = calibration_inputs(scored.config, training)
    found = recover(teacher, scored.model, plan, inputs, seed=scored.config.seed)
    print(report.recovery_text(found), flush=True)


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
    config.require("Architecture", "Train", "Eval", "Loss", "Optimizer", "PostProcess")
    check_source(config)
    with joined() as ranks:
        if ranks.first:
            check_writable(config.save_model_dir)
        data = _scan(config)
        model, plan = _starting_network(config)
        return _fit(config, model, data, plan, {"weights": hash_arrays(state_arrays(model))}, ranks=ranks)


def _starting_network(config: Config) -> tuple[paddle.nn.Layer, Plan | None]:
    """The network that `train` starts from, and the plan that it is pruned by, if it is."""
    if config.weights:
        network = load_network(config)
        return network.model, network.plan
    paddle.seed(config.seed)
    model = build_model(config.section("Architecture"))
    backbone = config.get("Global.init_backbone")
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
        image, _ = preprocess(config)(path)
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
    engine = open_engine(config)
    labelled = scan_evaluation(config)
    start = time.monotonic()
    scores = evaluate(engine, EvalSet(labelled, config), post_processor(config))
    logger.info("%d images in %.1f s", len(labelled.samples), time.monotonic() - start)
    print("  ".join(f"{name} {value:.6f}" for name, value in scores.items()))
    return {"weights": config.weights, "images": len(labelled.samples), **scores}


def run_import(config: Config, source: Path, destination: Path) -> dict[str, Any]:
    """Convert an ONNX file, an inference folder or a checkpoint to a `.pdparams` of this architecture."""
    config.require("Architecture")
    if destination.suffix != ".pdparams":
        destination = destination.with_name(destination.name + ".pdparams")
    check_writable(destination.parent)
    paddle.seed(config.seed)
    model = build_model(config.section("Architecture"))
    refuse_pruned(source)
    loaded = load_weights(model, source)
    save_checkpoint(model, destination)
    config.save(destination.with_suffix(".yml"))
    print(f"{loaded.source} ({loaded.kind}) -> {destination}")
    return {"checkpoint": str(destination), "kind": loaded.kind, "initialised": list(loaded.initialised)}


def open_engine(config: Config) -> Engine:
    """What `Global.pretrain_weights` names, ready to run: an exported folder as it is, or a network."""
    if config.weights and is_inference_folder(config.weights):
        return InferenceEngine(config.weights)
    return DygraphEngine(load_network(config).model)


def _scan(config: Config) -> tuple[LabelledSet, LabelledSet]:
    """The images to train on and those to score on, said in a line each."""
    training = scan(config, "Train")
    logger.info(training.summary())
    return training, scan_evaluation(config)


def _fit(
    config: Config,
    model: paddle.nn.Layer,
    data: tuple[LabelledSet, LabelledSet],
    plan: Plan | None,
    origin: Mapping[str, str],
    prepare: Callable[[], None] | None = None,
    distillation: Distillation | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    training, evaluation = data
    images, post_process = EvalSet(evaluation, config), post_processor(config)
    origin = {**origin, "training data": training.fingerprint(), "evaluation data": evaluation.fingerprint()}

    fresh: list[bool] = []

    def prepared() -> None:
        fresh.append(True)
        if prepare is not None:
            prepare()

    def score() -> dict[str, float]:
        found = evaluate(DygraphEngine(model), images, post_process)
        if plan is not None and fresh:
            fresh.clear()
            _warn_of_collapse(config, found)
        return found

    result = finetune.fit(model, config, training, score, plan, origin, prepared, distillation, ranks)
    start, best, last = (entry.metrics[result.metric] for entry in (result.start, result.best, result.last))
    if result.best.step:
        print(f"{result.metric} {start:.4f} before training, {best:.4f} at step {result.best.step}: {result.weights}")
    else:
        print(
            f"training brought nothing: {result.metric} {start:.4f} before, {last:.4f} after the last step; "
            f"{result.weights} has the weights from before: try a lower learning rate, or more images and epochs"
        )
    return {"checkpoint": str(result.weights), **result.to_json()}


def _warn_of_collapse(config: Config, scores: Mapping[str, float]) -> None:
    """Say so where a pruned network has lost more than training can be expected to bring back."""
    metric = str(config.get("Metric.main_indicator") or "hmean")
    before, now = loss_table.unpruned_score(table_of(config), metric), scores[metric]
    if before and now < _COLLAPSED * before:
        remedy = "" if config.prune.recover else ", or let -o Prune.recover=true refit the layers first"
        logger.warning(
            "%s is %.4f before training, and was %.4f unpruned: too much was pruned at once for training to make up; "
            "ask for less, with a lower Prune.target or Prune.loss_tolerance%s",
            *(metric, now, before, remedy),
        )


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

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.png"
        with Image.open(Path(skimage.__file__).parent / "data" / "page.png") as image:
            image.save(copy, icc_profile=None)  # libpng complains of its colour profile
        yield copy
