"""Networks with their configuration: scored, trained and exported."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocrslim.api.picture import Picture
from ocrslim.config import Config, load_config, load_model_config
from ocrslim.data import EvalSet, NetworkMemory, Preprocessor, scan_evaluation
from ocrslim.evaluation import Scorer, open_engine, post_processor, scoring_engine
from ocrslim.export import Exported, export_network
from ocrslim.graph import ChannelGraph
from ocrslim.inference import AutoEngine, DygraphEngine, is_runnable
from ocrslim.models import build_model
from ocrslim.pruning import WEIGHTS, Cost, Network, Plan, load_network, measure_cost, model_graph, untrained
from ocrslim.selection import Choice, prune_and_train
from ocrslim.training import FitResult, train
from ocrslim.utils import use_device

Options = Mapping[str, Any]
_CONFIGURATIONS = (".yml", ".yaml")


class Model:
    """A network with its configuration.

    Attributes:
        path: path of the configuration, or of the model where there is none.
        options: settings that override it, by dotted name.
        task: what the model is for, where neither says it.
        training: result of the training; None where `fit` did not make the model.
    """

    training: FitResult | None = None

    def __init__(self, path: Path, options: Options, task: str | None = None):
        self.path, self.options, self.task = Path(path), dict(options), task

    @functools.cached_property
    def config(self) -> Config:
        """The configuration with the options.

        Raises:
            ConfigError: with all faults of the configuration.
        """
        options = dict(self.options)
        if self.path.suffix in _CONFIGURATIONS:
            config = load_config(self.path, overrides(options))
        else:
            trained = options.pop(WEIGHTS, None)
            config = load_model_config(self.path, None, overrides(options), self.task, trained)
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
        return measure_cost(self.graph, self.plan.cuts if self.plan is not None else ())

    @functools.cached_property
    def graph(self) -> ChannelGraph:
        """The channel groups of the unpruned network, and why the other layers cannot be pruned."""
        config = self.config
        return model_graph(build_model(config.section("Architecture")), config.task, config.tree)

    @property
    def _exported(self) -> bool:
        """True if the weights are an exported network, which runs without building the network."""
        return "network" not in self.__dict__ and is_runnable(self.config.weights or "")

    def with_options(self, options: Options) -> Model:
        """Return the model with further settings, by dotted name."""
        return Model(self.path, {**self.options, **options}, self.task)

    def evaluate(self, labels: str | Path, data_dir: str | Path | None = None) -> dict[str, float]:
        """Score the network on labelled images.

        Returns:
            the scores of its task, each 0..1: for detection precision, recall and hmean.
        """
        config = self.with_options(dataset_settings("Eval", labels, data_dir)).config
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
        train_labels: str | Path | Sequence[str | Path] | None = None,
        val_labels: str | Path | Sequence[str | Path] | None = None,
        data_dir: str | Path | None = None,
        out: str | Path | None = None,
        options: Options | None = None,
    ) -> Model:
        """Train the network; an interrupted training continues at the next call.

        With `Global.epoch_num` 0, as models without a configuration have it, a pruned network is only refitted.

        Args:
            train_labels: label file or files to train on; by default those of `Train.dataset`.
            val_labels: label file or files to evaluate on; by default those of `Eval.dataset`.
            data_dir: folder of their images.
            out: folder for checkpoints; by default `Global.save_model_dir`.
            options: settings by dotted name, such as `{"Global.epoch_num": 10}`.

        Returns:
            the model with the best weights; its `training` has the scores.

        Raises:
            TrainingError: the folder holds another run, or training diverged.
        """
        given: dict[str, Any] = {}
        for mode, labels in (("Train", train_labels), ("Eval", val_labels)):
            given |= {} if labels is None else dataset_settings(mode, labels, data_dir)
        given |= options or {}
        if out is not None:
            given["Global.save_model_dir"] = str(out)
        asked = self.with_options(given)
        return asked._trained(self._train(asked.config))

    def _train(self, config: Config) -> FitResult:
        return train(config)

    def _trained(self, result: FitResult) -> Model:
        """Return the model with the weights of a finished training."""
        trained = self.with_options({WEIGHTS: str(result.weights)})
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


class PrunedModel(Model):
    """A pruned network, not yet refitted or trained.

    Attributes:
        before: the model before pruning.
        choice: the plan, expected losses and costs.
    """

    def __init__(self, before: Model, choice: Choice, network: Network):
        super().__init__(before.path, before.options, before.task)
        self.before, self.choice = before, choice
        self.__dict__["network"] = network

    @property
    def summary(self) -> str:
        """A text with the pruned layers, the others with the reasons, expected losses and costs."""
        return self.choice.summary

    def _train(self, config: Config) -> FitResult:
        """Refit the layers and train, as stage 2 does, with the chosen plan."""
        return prune_and_train(config, self.choice).training


def overrides(options: Options) -> list[str]:
    """Return settings as `-o` takes them."""
    return [f"{key}={'' if value is None else json.dumps(value)}" for key, value in options.items()]


def dataset_settings(
    mode: str, labels: str | Path | Sequence[str | Path], data_dir: str | Path | None
) -> dict[str, Any]:
    """Return the settings that name label files and their images for `mode`, "Train" or "Eval"."""
    files = [str(labels)] if isinstance(labels, (str, Path)) else [str(one) for one in labels]
    folder = {} if data_dir is None else {f"{mode}.dataset.data_dir": str(data_dir)}
    return {**folder, f"{mode}.dataset.label_file_list": files}
