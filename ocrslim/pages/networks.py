"""The networks that pairs are made of: a model as it came, rewritten without a loss, and pruned by several plans."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.compression import (
    Costs,
    LabelFiles,
    costs_of_original,
    epochs_within,
    export_to,
    formats_for,
    of_length,
    original_for,
    training_config,
    unpruned_for,
)
from ocrslim.config import Config
from ocrslim.data import scan_both
from ocrslim.errors import ArtifactError, PlanError
from ocrslim.export import network_for
from ocrslim.formats import PLAN_SUFFIX, exported_files
from ocrslim.models import save_checkpoint
from ocrslim.pruning import (
    MACS,
    WEIGHTS,
    PrunableNetwork,
    apply_plan,
    load_base_network,
    load_network,
    load_prunable_network,
)
from ocrslim.selection import CandidateScores, Choice, choose_plan, prune_and_train
from ocrslim.utils import check_writable, hash_bytes, read_file, read_json, write_json

logger = logging.getLogger(__name__)

CHECKPOINT = "best_accuracy"
_COSTS = "costs.json"  # written last: a folder without it is built again
_LENGTH = "length.json"  # of a training
_MADE_BY = "ocrslim compress"
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class NetworkFile:
    """A network as the file that a runtime opens.

    Attributes:
        file: the `.onnx`, `.pdmodel` or `.json`.
        digest: SHA-256 over the file and its parameters.
        own: whether this program wrote it.
    """

    file: Path
    digest: str
    own: bool

    @classmethod
    def at(cls, file: Path, own: bool) -> NetworkFile:
        """Return the network in a file."""
        return cls(file, hash_bytes(*(read_file(path, _MOST_BYTES) for path in exported_files(file))), own)


@dataclass(frozen=True)
class Plan:
    """A network pruned by a plan, refitted and written.

    Attributes:
        asked: fraction of the MACs that was to be removed.
        network: as the runtime opens it.
        checkpoint: of the network, without its ending.
        macs, params: left.
    """

    asked: float
    network: NetworkFile
    checkpoint: Path
    macs: int
    params: int


class Networks:
    """The networks that one model becomes; each is made once, whatever ends the program in between."""

    def __init__(self, model: Path, original: Config, config: Config):
        """
        Args:
            model: as the user has it.
            original: its configuration.
            config: by which it is pruned: `Train` names the images to calibrate on, `Eval` those by which a refit is
                judged; its `Global.save_model_dir` holds what is made here.
        """
        self._model, self._original, self.config = model, original, config
        self._folder = config.save_model_dir

    @functools.cached_property
    def as_it_came(self) -> NetworkFile:
        """The model as the user has it; written for the runtime, where that does not read it."""
        original = self._original.changed({"Global.save_model_dir": str(self._folder)})
        return self._kept("before", lambda folder: original_for(self._model, original, folder))

    @functools.cached_property
    def rewritten(self) -> NetworkFile:
        """The same, rewritten by exact algebra where the configuration does not rule that out."""
        return self._kept("rewritten", lambda folder: unpruned_for(self.config, folder))

    def _kept(self, name: str, made: Callable[[Path], Path]) -> NetworkFile:
        """Return a network that an earlier call has written, or that `made` writes into the folder it is given."""
        folder = self._folder / name
        known = _known(folder)
        if known is None:
            file = made(folder)
            if folder not in file.parents:  # the model itself
                return NetworkFile.at(file, own=False)
            known = {"network": str(file.relative_to(folder))}
            write_json(folder / _COSTS, known)
        return NetworkFile.at(folder / known["network"], own=True)

    def pruned(self, fraction: float) -> Plan | None:
        """Return the network without a fraction of its MACs, refitted; None where so much cannot be removed."""
        folder = self._folder / f"without_{fraction:.4f}"
        known = _known(folder)
        if known is None:
            shutil.rmtree(folder, ignore_errors=True)
            known = self._build(fraction, check_writable(folder))
            write_json(folder / _COSTS, known)
        if "unreachable" in known:
            return None
        network = NetworkFile.at(folder / known["network"], own=True)
        return Plan(fraction, network, folder / CHECKPOINT, known["macs"], known["params"])

    @functools.cached_property
    def original_costs(self) -> Costs:
        """What the model costs as it came."""
        return costs_of_original(self._model, self._original)

    def export(self, fraction: float, checkpoint: str | None, out: Path) -> dict[str, Any]:
        """Export the network without a fraction of its MACs in the format that came in; return what there is to say.

        Args:
            fraction: 0 for the rewritten network.
            checkpoint: of its training, without its ending; None where it was not trained.
            out: folder for it.

        Raises:
            ExportError: it computes something else than the network.
            ArtifactError: it cannot be written.
        """
        config = formats_for(self._model, self.config)
        if fraction:
            config = config.changed({WEIGHTS: checkpoint or str(self._plan(fraction).checkpoint)})
        network = load_network(config) if fraction else load_base_network(config)
        found = export_to(out, network, config, self._folder / "export")
        left: Costs | Plan = self._plan(fraction) if fraction else self.original_costs
        return {**found, "macs": left.macs, "params": left.params}

    def _plan(self, fraction: float) -> Plan:
        plan = self.pruned(fraction)
        if plan is None:
            raise PlanError(f"{self._model}: {fraction:.0%} of its MACs cannot be removed")
        return plan

    def trained(self, fraction: float, minutes: float, labels: LabelFiles | None) -> Path:
        """Train the network without a fraction of its MACs; return the checkpoint, without its ending.

        A training that was ended goes on; it learns from labels where pages to calibrate on have some, else from the
        unpruned network.

        Args:
            minutes: that it may take, about.
        """
        folder = check_writable(self._folder / "trained")
        config = self.config.changed({"Global.save_model_dir": str(folder), "Prune.target": {MACS: fraction}})
        config = training_config(config, labels, self._original.section("Metric"))
        if labels is not None and labels.calibration is not None:  # which are of pages, not of lines cut out of them
            config = config.changed({"Train.dataset.data_dir": config.get("Eval.dataset.data_dir")})
        choice, file = self._choice(fraction), folder / _LENGTH
        if not file.is_file():
            write_json(file, epochs_within(config, choice, minutes))
        of_target = self._prunable.with_target({MACS: fraction})
        result = prune_and_train(of_length(config, read_json(file, _MADE_BY)), choice, chosen_by=of_target)
        return result.training.weights.with_suffix("")

    def _choice(self, fraction: float) -> Choice:
        return choose_plan(self._prunable.with_target({MACS: fraction}))

    def _build(self, fraction: float, folder: Path) -> dict[str, Any]:
        try:
            choice = self._choice(fraction)
        except PlanError as fault:
            logger.info("%s", fault)
            return {"unreachable": str(fault)}
        network = load_base_network(self.config)
        apply_plan(network.model, choice.plan)
        plan = choice.plan.after(network.plan)
        self._scores.refit_what_helps(network.model, plan)
        save_checkpoint(network.model, folder / CHECKPOINT)
        plan.save(folder / f"{CHECKPOINT}{PLAN_SUFFIX}")
        place = folder / "network"
        place.mkdir()
        file = network_for(self.config.export.runtime, network.model, self.config, place)
        return {"network": str(file.relative_to(folder)), "macs": choice.after.macs, "params": choice.after.params}

    @functools.cached_property
    def _data(self) -> Any:
        return scan_both(self.config)

    @functools.cached_property
    def _prunable(self) -> PrunableNetwork:
        config = self.config.changed({"Prune.target": {MACS: 0.5}})  # any, for the criterion to know that there is one
        return load_prunable_network(config, self._data[0], competing=(), inputs=self._scores.inputs)

    @functools.cached_property
    def _scores(self) -> CandidateScores:
        return CandidateScores(self.config, load_base_network(self.config), self._data)


def _known(folder: Path) -> dict[str, Any] | None:
    """Return what is known of a network that was built; None where it is not there as a whole."""
    try:
        found = dict(read_json(folder / _COSTS, _MADE_BY))
    except ArtifactError:
        return None
    whole = "unreachable" in found or (folder / str(found.get("network"))).is_file()
    return found if whole else None
