"""A whole analysis by a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import paddle

from ocrslim.config import Config
from ocrslim.data import EvalSet, NetworkMemory, scan_evaluation
from ocrslim.errors import ArtifactError
from ocrslim.evaluation import with_predicted_labels
from ocrslim.formats import read_sensitivities
from ocrslim.inference import DygraphEngine
from ocrslim.pruning import for_table, load_prunable_network, match_groups, require_patterns
from ocrslim.sensitivity.analyzer import analyse, start_processes
from ocrslim.sensitivity.recorder import Recorder
from ocrslim.sensitivity.result import SensitivityResult
from ocrslim.sensitivity.results.store import (
    JOURNALS,
    check_readable,
    open_measurements,
    read_counts,
)
from ocrslim.sensitivity.results.table import TABLE, check_names
from ocrslim.sensitivity.settings import Problem, Settings
from ocrslim.sensitivity.sharding import share_of
from ocrslim.utils import GIB, check_writable, hash_value

_SECTIONS = ("Architecture", "Eval", "PostProcess")


def measure(config: Config) -> SensitivityResult:
    """Measure every group that `Prune.layers` names -> `sen.pickle` and `sen.json` in `Global.save_model_dir`.

    Raises:
        ConfigError, DataError, WeightsError: what is to be measured is incomplete or unreadable.
        ArtifactError: the folder holds measurements of something else, or cannot be written.
    """
    config.require(*_SECTIONS)
    require_patterns(config)
    folder = check_writable(config.save_model_dir)
    if not config.overwrite:
        check_readable(folder, config.task)
    config = with_predicted_labels(config)
    settings = settings_of(config)
    with start_processes(settings) as processes:
        problem = problem_of(config)
        return analyse(problem, folder, settings, config.overwrite, processes)


def merge(config: Config, sources: Sequence[Path]) -> SensitivityResult:
    """Put the measurements of several folders, such as shards, together into `Global.save_model_dir`.

    Raises:
        ArtifactError: a folder has none, or of something else, or losses that its journal does not explain.
    """
    from paddleslim.prune import merge_sensitive

    config.require(*_SECTIONS)
    require_patterns(config)
    folder = check_writable(config.save_model_dir)
    config = with_predicted_labels(config)
    tables = [read_sensitivities(source / TABLE) for source in sources]
    for source in (*sources, *(() if config.overwrite else (folder,))):
        check_readable(source, config.task)
    problem = problem_of(config)
    identity = problem.identity()
    for source, table in zip(sources, tables):
        check_names(table, identity.graph, identity.architecture, source / TABLE)
    measured = open_measurements(folder, identity, lambda _: True, overwrite=config.overwrite)
    journals = [path for source in sources for path in _journals(source)]
    for (layer, ratio), counts in read_counts(journals, identity).items():
        known = len(measured.counts.get((layer, ratio), []))
        measured.add(layer, ratio, known, counts[known:])
    merged = merge_sensitive([*tables, {}])
    lost = [name for name, losses in merged.items() if losses.items() - measured.table.get(name, {}).items()]
    if lost:
        raise ArtifactError(
            f"{', '.join(str(source / TABLE) for source in sources)}: hold points of {lost[0]} that the journals "
            "beside them do not explain: merge the folders as they were measured, or measure that layer anew"
        )
    if not measured.baseline:
        raise ArtifactError(
            f"{folder}: the unpruned network was not measured on all {identity.images} images: run "
            "sensitivity_anal.py, which goes on from here"
        )
    settings = settings_of(config)
    Recorder(problem, settings, measured).save(last=True)
    return SensitivityResult(problem, measured, settings)


def problem_of(config: Config) -> Problem:
    """Load the network and list the data and the groups that a configuration names.

    Raises:
        ConfigError, DataError, WeightsError: something of it is incomplete or unreadable.
    """
    labelled = scan_evaluation(config)  # first: a wrong path is told in a second
    config = for_table(config)
    network = load_prunable_network(config, competing=())
    groups = match_groups(network.graph, config.prune.layers, config.section("Architecture"), "Prune.layers")
    NetworkMemory(DygraphEngine(network.model), config.task).require(*EvalSet(labelled, config).largest)
    hashes = {
        **network.hashes(),
        "evaluation data": labelled.fingerprint(),
        "post-processing": hash_value([config.section("PostProcess"), config.get("Metric.main_indicator")]),
    }
    ratios = config.prune.ratios
    return Problem(network.model, network.graph, labelled, config, network.channel_pruner, hashes, groups, ratios)


def settings_of(config: Config) -> Settings:
    """The settings in the section `Prune` of a configuration."""
    options = config.prune
    return Settings(
        mode=options.mode,
        tolerance=options.loss_tolerance,
        engine=options.engine,
        workers=options.workers,
        memory=int(options.cache_gib * GIB),
        minutes=options.budget_minutes,
        use_gpu=paddle.device.get_device().startswith("gpu"),
        share=share_of(options.shard),
    )


def _journals(folder: Path) -> list[Path]:
    found = sorted(folder.glob(JOURNALS))
    if not found:
        raise ArtifactError(
            f"{folder}: holds no measurements ({JOURNALS}): expected a folder that sensitivity_anal.py wrote into "
            "(its Global.save_model_dir)"
        )
    return found
