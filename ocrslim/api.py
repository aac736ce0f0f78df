"""Pruning from Python: the stages of the three scripts as functions and values.

    import ocrslim

    model = ocrslim.load("det.yml", weights="best_accuracy")
    table = ocrslim.analyse(model, "val.txt", data_dir="images")
    small = ocrslim.prune(model, table, target={"latency": 0.4})
    small.fit("train.txt", "val.txt", data_dir="images").export("inference_model")

Every setting of the configuration can be given by its dotted name, as on the command line:
`ocrslim.load("det.yml", options={"Global.seed": 1})`. An interrupted call continues when it is called again with the
same arguments. Nothing is printed to standard output: messages go to the logger `ocrslim`.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ocrslim.config import Config, load_config
from ocrslim.data import EvalSet, NetworkMemory, Preprocessor, scan_evaluation
from ocrslim.evaluation import Scorer, open_engine, post_processor, scoring_engine
from ocrslim.export import Exported, export_network
from ocrslim.formats import Sensitivities
from ocrslim.inference import AutoEngine, DygraphEngine, is_inference_folder
from ocrslim.models import build_model
from ocrslim.pruning import (
    Cost,
    Network,
    Plan,
    apply_plan,
    load_network,
    load_prunable_network,
    measure_cost,
    model_graph,
    untrained,
)
from ocrslim.report import DPI, SensitivityPicture, sensitivity_figures
from ocrslim.selection import Choice, choose_plan, prune_and_train
from ocrslim.sensitivity import SensitivityResult, measure
from ocrslim.training import FitResult, train
from ocrslim.utils import use_device

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Options = Mapping[str, Any]


class Model:
    """A network with its configuration.

    Attributes:
        path: path of the configuration.
        options: settings that override it, by dotted name.
        training: result of the training; None where `fit` did not make the model.
    """

    training: FitResult | None = None

    def __init__(self, path: Path, options: Options):
        self.path, self.options = Path(path), dict(options)

    @functools.cached_property
    def config(self) -> Config:
        """The configuration with the options.

        Raises:
            ConfigError: with all faults of the configuration.
        """
        config = load_config(self.path, [f"{key}={json.dumps(value)}" for key, value in self.options.items()])
        use_device(bool(config.get("Global.use_gpu")))
        return config

    @functools.cached_property
    def network(self) -> Network:
        """The network with its weights and its plan, loaded at the first access."""
        return load_network(untrained(self.config))

    @property
    def plan(self) -> Plan | None:
        """The plan that the network is pruned by; None for an unpruned one."""
        return self.network.plan

    @functools.cached_property
    def cost(self) -> Cost:
        """MACs at the task's nominal size (736x1280 for a detector), and parameters."""
        config = self.config
        unpruned = model_graph(build_model(config.section("Architecture")), config.task, config.tree)
        return measure_cost(unpruned, self.plan.cuts if self.plan is not None else ())

    @property
    def _exported(self) -> bool:
        """True if the weights are an exported folder, which runs without building the network."""
        return "network" not in self.__dict__ and is_inference_folder(self.config.weights or "")

    def with_options(self, options: Options) -> Model:
        """Return the model with further settings, by dotted name."""
        return Model(self.path, {**self.options, **options})

    def evaluate(self, labels: str | Path, data_dir: str | Path | None = None) -> dict[str, float]:
        """Score the network on labelled images.

        Returns:
            the scores of its task, each 0..1: for detection precision, recall and hmean.
        """
        config = self.with_options(_dataset("Eval", labels, data_dir)).config
        config.require("Eval", "PostProcess")
        images = EvalSet(scan_evaluation(config), config)
        opened = scoring_engine(config) if self._exported else AutoEngine(self.network.model, config.task).engine
        with opened(images) as engine:
            return Scorer(config)(engine, images)

    def predict(self, image: str | Path) -> Any:
        """Predict for one image file: for detection polygons [k, 2] in pixels."""
        return self._predict(image)[1]

    def draw(self, image: str | Path) -> Picture:
        """Predict for one image file and draw the prediction into it."""
        pixels, prediction = self._predict(image)
        return Picture(self.config.task.draw(pixels, prediction)[:, :, ::-1])

    def _predict(self, image: str | Path) -> tuple[np.ndarray, Any]:
        """Decode an image file and predict for it: its pixels, blue green red, and the prediction."""
        engine = open_engine(self.config) if self._exported else DygraphEngine(self.network.model)
        prepared = Preprocessor(self.config, NetworkMemory(engine, self.config.task))(image)
        return prepared.pixels, post_processor(self.config)(engine(prepared.image), prepared.shape)

    def fit(
        self,
        train_labels: str | Path | Sequence[str | Path],
        val_labels: str | Path | Sequence[str | Path],
        data_dir: str | Path | None = None,
        out: str | Path | None = None,
        options: Options | None = None,
    ) -> Model:
        """Train the network on labelled images; an interrupted training continues at the next call.

        Args:
            train_labels: label file or files to train on.
            val_labels: label file or files to evaluate on.
            data_dir: folder of their images.
            out: folder for checkpoints; by default `Global.save_model_dir`.
            options: settings by dotted name, such as `{"Global.epoch_num": 10}`.

        Returns:
            the model with the best weights; its `training` has the scores.

        Raises:
            TrainingError: the folder holds another run, or training diverged.
        """
        given = {
            **_dataset("Train", train_labels, data_dir),
            **_dataset("Eval", val_labels, data_dir),
            **(options or {}),
        }
        if out is not None:
            given["Global.save_model_dir"] = str(out)
        asked = self.with_options(given)
        return asked._trained(self._train(asked.config))

    def _train(self, config: Config) -> FitResult:
        return train(config)

    def _trained(self, result: FitResult) -> Model:
        """Return the model with the weights of a finished training."""
        trained = self.with_options({"Global.pretrained_model": str(result.weights)})
        trained.training = result
        return trained

    def export(self, folder: str | Path) -> Exported:
        """Write an inference model and compare its output with this network's.

        Raises:
            ExportError: the outputs differ.
            ArtifactError: the folder cannot be written, or holds other files.
        """
        self.config.require("Architecture", "PostProcess")
        return export_network(self.network, self.config, Path(folder))

    def __repr__(self) -> str:
        pruned = "" if "network" not in self.__dict__ or self.plan is None else ", pruned"
        return f"<{type(self).__name__} {self.path}, weights {self.config.weights}{pruned}>"


class SensitivityTable:
    """Losses by layer and ratio.

    Attributes:
        model: the analysed model, with the settings of the analysis.
        result: the measurements.
    """

    def __init__(self, model: Model, result: SensitivityResult):
        self.model, self.result = model, result

    @property
    def path(self) -> Path:
        """The file `sen.pickle`."""
        return self.result.table_path

    @property
    def losses(self) -> Sensitivities:
        """{layer: {ratio: loss}}; a loss is the relative fall of the score, as PaddleSlim defines it."""
        return self.result.measured.table

    @property
    def baseline(self) -> dict[str, float]:
        """The scores of the unpruned network."""
        return dict(self.result.measured.record["baseline"])

    def plot(self, curves: bool = False) -> Picture:
        """Plot the losses as a heat map of layers by ratios, or as a curve for each layer."""
        return Picture(sensitivity_figures(self.picture)[curves])

    @property
    def picture(self) -> SensitivityPicture:
        """The data of the plots."""
        return self.result.picture()

    def to_frame(self) -> pandas.DataFrame:
        """Return the losses as a pandas table: a row for each layer, a column for each ratio.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        frame = pandas.DataFrame.from_dict(self.losses, orient="index")
        return frame.sort_index(axis="columns").rename_axis("layer")

    def __repr__(self) -> str:
        points = sum(map(len, self.losses.values()))
        return f"<SensitivityTable {self.path}: {len(self.losses)} layers, {points} points>"


class PrunedModel(Model):
    """A pruned network, not yet refitted or trained.

    Attributes:
        before: the model before pruning.
        choice: the plan, expected losses and costs.
    """

    def __init__(self, before: Model, choice: Choice, network: Network):
        super().__init__(before.path, before.options)
        self.before, self.choice = before, choice
        self.__dict__["network"] = network

    @property
    def summary(self) -> str:
        """A text with the pruned layers, the others with the reasons, expected losses and costs."""
        return self.choice.summary

    def _train(self, config: Config) -> FitResult:
        """Refit the layers and train, as stage 2 does, with the chosen plan."""
        return prune_and_train(config, self.choice).training


class Picture:
    """A picture that notebooks show, and that can be saved."""

    def __init__(self, content: Figure | np.ndarray):
        """
        Args:
            content: a matplotlib figure, or pixels, uint8 [H, W, 3] in RGB order.
        """
        self._content = content

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        if isinstance(self._content, np.ndarray):
            from PIL import Image

            Image.fromarray(np.ascontiguousarray(self._content)).save(stream, format="png")
        else:
            self._content.savefig(stream, format="png", dpi=DPI)
        return stream.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the picture as a PNG file."""
        path = Path(path)
        path.write_bytes(self._repr_png_())
        return path


def load(config: str | Path, weights: str | Path | None = None, options: Options | None = None) -> Model:
    """Open a model.

    Args:
        config: a configuration in PaddleOCR's format.
        weights: a checkpoint, an inference folder or an ONNX file; by default `Global.pretrain_weights`.
        options: settings that override the configuration, by dotted name.

    Raises:
        ConfigError: with all faults of the configuration.
    """
    given = dict(options or {})
    if weights is not None:
        given["Global.pretrained_model"] = str(weights)
    model = Model(Path(config), given)
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
        given |= _dataset("Eval", labels, data_dir)
    if out is not None:
        given["Global.save_model_dir"] = str(out)
    asked = model.with_options(given)
    return SensitivityTable(asked, measure(untrained(asked.config)))


def prune(
    model: Model,
    table: SensitivityTable | str | Path,
    target: Mapping[str, float] | None = None,
    **settings: Any,
) -> PrunedModel:
    """Choose a plan and prune the network by it.

    Args:
        table: sensitivity table of the model, or the path of a `sen.pickle`.
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
    else:
        given["Prune.sen_file"] = str(table)
    if target is not None:
        given["Prune.target"] = dict(target)
    asked = model.with_options(given)
    network = load_prunable_network(untrained(asked.config))
    choice = choose_plan(network)
    plan = choice.plan.after(network.plan)
    apply_plan(network.model, choice.plan)
    network.model.eval()
    return PrunedModel(asked, choice, Network(network.model, plan, str(asked.config.weights)))


def _dataset(mode: str, labels: str | Path | Sequence[str | Path], data_dir: str | Path | None) -> dict[str, Any]:
    """Settings that name label files and their images for `mode`, "Train" or "Eval"."""
    files = [str(labels)] if isinstance(labels, (str, Path)) else [str(one) for one in labels]
    folder = {} if data_dir is None else {f"{mode}.dataset.data_dir": str(data_dir)}
    return {**folder, f"{mode}.dataset.label_file_list": files}
