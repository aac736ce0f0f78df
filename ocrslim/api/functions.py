"""The stages as functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocrslim.api.model import Model, Options, PrunedModel, dataset_settings, overrides
from ocrslim.api.table import SensitivityTable
from ocrslim.compression import Request
from ocrslim.compression import compress as run_compression
from ocrslim.config import load_model_config, load_pair, setting
from ocrslim.evaluation import with_predicted_labels
from ocrslim.pages import PairRequest
from ocrslim.pages import compress_pair as run_pair_compression
from ocrslim.pruning import (
    AUTO,
    RECONSTRUCTION,
    WEIGHTS,
    Network,
    apply_plan,
    for_table,
    load_prunable_network,
    untrained,
)
from ocrslim.selection import choose_plan
from ocrslim.sensitivity import measure
from ocrslim.tasks import Wanted, read_wanted
from ocrslim.utils import use_device
from ocrslim.vocabulary import CutCharacters, cut_characters


def load(
    source: str | Path,
    weights: str | Path | None = None,
    options: Options | None = None,
    task: str | None = None,
    images: str | Path | None = None,
) -> Model:
    """Open a model.

    Args:
        source: a configuration in PaddleOCR's format; or a model by itself: an inference folder or an ONNX file of any
            network, or a checkpoint beside its `config.yml`.
        weights: with a configuration, a checkpoint, an inference folder or an ONNX file; by default
            `Global.pretrain_weights`.
        options: settings that override the configuration, by dotted name.
        task: "det", "rec" or "cls", for a model that no `inference.yml` beside it says it of.
        images: folder of images without labels, to prune and to score by where no labels are named.

    Raises:
        ConfigError: with all faults of the configuration.
        WeightsError: there is no such model.
    """
    given = dict(options or {})
    if weights is not None:
        given[WEIGHTS] = str(weights)
    if images is not None:
        given |= {f"{mode}.dataset.data_dir": str(images) for mode in ("Train", "Eval")}
        given |= {f"{mode}.dataset.label_file_list": None for mode in ("Train", "Eval")}
    model = Model(Path(source), given, task)
    model.config.require("Architecture")
    return model


def analyse(
    model: Model,
    labels: str | Path | Sequence[str | Path] | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    **settings: Any,
) -> SensitivityTable:
    """Measure the loss of each layer at each ratio; an interrupted analysis continues at the next call.

    Args:
        labels: label file or files to evaluate on; by default those of `Eval.dataset`.
        data_dir: folder of their images.
        out: folder for `sen.pickle` and its companions; by default `Global.save_model_dir`.
        settings: settings of the section `Prune`, such as `ratios=[0.3, 0.5]`, `layers=["conv1*"]`, `mode="adaptive"`.

    Raises:
        ConfigError, DataError, WeightsError: settings, images or weights are missing or wrong.
        ArtifactError: the folder holds measurements of other weights, images or settings.
    """
    given = {f"Prune.{name}": value for name, value in settings.items()}
    if labels is not None:
        given |= dataset_settings("Eval", labels, data_dir)
    if out is not None:
        given["Global.save_model_dir"] = str(out)
    asked = model.with_options(given)
    return SensitivityTable(asked, measure(untrained(asked.config)))


def prune(
    model: Model,
    table: SensitivityTable | str | Path | None = None,
    target: Mapping[str, float] | None = None,
    **settings: Any,
) -> PrunedModel:
    """Choose a plan and prune the network by it.

    Args:
        table: sensitivity table of the model, or the path of a `sen.pickle`; a target needs none, as the errors that a
            refit leaves take its place.
        target: fraction to remove: `{"macs": 0.5}`, `{"params": 0.5}` or `{"latency": 0.4}`; without one each layer
            gets the largest ratio within `Prune.loss_tolerance`.
        settings: settings of the section `Prune`, such as `loss_tolerance=0.05`, `skip_first=0`.

    Raises:
        NothingToPrune: no layer may lose channels; the error has the reasons.
        PlanError: the target cannot be reached.
    """
    given = {f"Prune.{name}": value for name, value in settings.items()}
    if isinstance(table, SensitivityTable):
        given = {**table.model.options, **given, "Prune.sen_file": str(table.path)}
    elif table is not None:
        given["Prune.sen_file"] = str(table)
    if target is not None:
        given["Prune.target"] = dict(target)
    asked = model.with_options(given)
    config = untrained(asked.config)
    if table is not None:
        config = for_table(config)
    if config.prune.criterion in (AUTO, RECONSTRUCTION):  # whose images need no labels
        config = with_predicted_labels(config)
    network = load_prunable_network(config, competing=())
    choice = choose_plan(network)
    plan = choice.plan.after(network.plan)
    apply_plan(network.model, choice.plan)
    network.model.eval()
    return PrunedModel(asked, choice, Network(network.model, plan, str(asked.config.weights)))


def compress(
    model: str | Path,
    images: str | Path,
    out: str | Path,
    target: Mapping[str, float] | None = None,
    labels: str | Path | None = None,
    minutes: float = 0.0,
    task: str | None = None,
    options: Options | None = None,
) -> dict[str, Any]:
    """Make a model smaller by as much as images bear, and measure what that brings and costs, as `ocrslim compress`.

    Args:
        model: an inference folder, an ONNX file, or a checkpoint beside its `config.yml`.
        images: folder of images, as the model will see them.
        out: folder for the smaller model; with an unfinished run of the same request, that goes on.
        target: fraction to remove: `{"macs": 0.5}`, `{"params": 0.5}` or `{"latency": 0.5}`; without one the most that
            costs at most one point of agreement.
        labels: label file of some or all of the images: adds the score by labels, and is trained on.
        minutes: to train for.
        task: "det", "rec" or "cls", for a model that no `inference.yml` beside it says it of.
        options: settings by dotted name, such as `{"Export.runtime": "openvino"}`.

    Returns:
        what `compress.json` has: costs, times, agreement, score, verdict.

    Raises:
        OcrSlimError: as `ocrslim.compression.compress`.
    """
    given: dict[str, Any] = {f"{mode}.dataset.data_dir": str(images) for mode in ("Train", "Eval")}
    given |= {f"{mode}.dataset.label_file_list": None for mode in ("Train", "Eval")}
    settings = overrides({**given, **(options or {})})
    config = load_model_config(model, None, settings, task)
    use_device(bool(config.get("Global.use_gpu")))
    return run_compression(
        Request(
            *(Path(model), Path(images), Path(out), target, None if labels is None else Path(labels), minutes),
            options=tuple(settings),
            task=task,
            command="ocrslim.compress",
        ),
        config,
    )


def compress_pair(
    detector: str | Path,
    recogniser: str | Path,
    images: str | Path,
    out: str | Path,
    target: float | None = None,
    labels: str | Path | None = None,
    minutes: float = 0.0,
    dictionary: str | Path | None = None,
    options: Options | None = None,
) -> dict[str, Any]:
    """Make a detector and a recogniser smaller within one time budget, as `ocrslim compress --det --rec`.

    Args:
        detector, recogniser: inference folders, ONNX files, or checkpoints beside their `config.yml`.
        images: folder of pages.
        out: folder for both; with an unfinished run of the same request, that goes on.
        target: fraction of a page's seconds to remove; without one the most that costs at most one point of agreement.
        labels: label file of some or all of the pages, boxes with texts.
        minutes: to train for, both together.
        dictionary: of the recogniser, where it does not bring it along.
        options: settings of both by dotted name, such as `{"Export.runtime": "openvino"}`.

    Returns:
        what `compress.json` has: costs, seconds a page, agreement, score, verdict, and `det` and `rec` alone.

    Raises:
        OcrSlimError: as `ocrslim.pages.compress_pair`.
    """
    pair = Path(detector), Path(recogniser), Path(images)
    named, labelled = (None if file is None else Path(file) for file in (dictionary, labels))
    configs = load_pair(*pair, overrides(options or {}), named)
    use_device(any(bool(config.get("Global.use_gpu")) for config in configs.values()))
    request = PairRequest(*pair, Path(out), target, labelled, minutes, command="ocrslim.compress_pair")
    return run_pair_compression(request, configs)


def charset(
    model: str | Path,
    out: str | Path,
    characters: str | Iterable[str] = "",
    labels: str | Path | Sequence[str | Path] = (),
    dictionary: str | Path | None = None,
    config: str | Path | None = None,
) -> CutCharacters:
    """Write a recogniser that keeps only the characters that are read, the blank and the space; exactly, untrained.

    Args:
        model: an inference folder, an ONNX file, or a checkpoint.
        out: folder for the smaller model: new, empty, or of an earlier cut.
        characters: to keep, in any order; those of a text will do.
        labels: label file or files, all characters of whose texts are kept.
        dictionary: what the model was trained with, where it does not bring it along.
        config: of a checkpoint, where no `config.yml` lies beside it.

    Returns:
        where it is, its numbers of classes, bytes before and after, and the characters that it does not know.

    Raises:
        OcrSlimError: as `ocrslim.vocabulary.cut_characters`.
    """
    files = [Path(one) for one in ([labels] if isinstance(labels, (str, Path)) else labels)]
    texts = [characters] if isinstance(characters, str) else [*characters]
    texts += read_wanted(labels=files).texts if files else ()
    options = [] if dictionary is None else [setting("Global.character_dict_path", str(dictionary))]
    found = load_model_config(model, config, options, None if config else "rec")
    return cut_characters(found, Wanted(texts=texts), Path(out))
