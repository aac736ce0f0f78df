"""What is timed where a latency is the target."""

from __future__ import annotations

import numpy as np
import pytest
from bare_models import write_images
from onnx_models import small_detector

from ocrslim.config import load_config, load_model_config
from ocrslim.errors import ExportError, OcrSlimError, WeightsError
from ocrslim.inference import RUNTIMES, Pass
from ocrslim.models import state_arrays
from ocrslim.models.factory import build_model
from ocrslim.pruning.prunable import model_graph
from ocrslim.selection import stage
from ocrslim.selection.latency import benchmark
from ocrslim.selection.latency.benchmark import Stopwatch
from ocrslim.selection.latency.target import require_runnable, require_runtime

NECK = "neck.in2_conv.weight"


class Told:
    """Stands for the process; notes what it opens."""

    def __init__(self, runtime, threads):
        self.place, self.opened, self.closed = (runtime, threads), [], []

    def __exit__(self, *_):
        self.place = None

    def open(self, path, own=False):
        assert own and path.stat().st_size
        self.opened.append(path)
        return len(self.opened) - 1

    def close(self, network):
        self.closed.append(network)

    def time(self, networks, shape, rounds, warm_up):
        # the unpruned network takes 8 ms by the clock and 4 of the CPU, the others half and a quarter of that
        slow, fast = (Pass(0, 8.0, 99.0, 4.0), Pass(0, 4.0, 99.0, 1.0))
        return [[slow if number == 0 else fast] * rounds for number in networks]


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(benchmark, "TimingProcess", Told)


@pytest.fixture
def detector(v2_config):
    def made(*options):
        config = load_config(v2_config, options)
        model = build_model(config.section("Architecture"))
        model.eval()
        return model, model_graph(model, config.task), config

    return made


@pytest.mark.slow
def test_the_export_of_the_pruned_network_is_timed_beside_that_of_the_unpruned_one(detector, told):
    model, graph, config = detector()
    before = state_arrays(model)
    with Stopwatch(model, config) as watch:
        assert watch.of_removed(graph, {NECK: 48}) == (4.0, 0.25), "the CPU time of one thread"
        watch.of_removed(graph, {NECK: 24})
        process = watch._process
        assert process.place == ("paddle", 1) and len(process.opened) == 3, "the unpruned network once"
        assert process.closed == [1, 2] and not any(path.exists() for path in process.opened)
    assert process.place is None
    after = state_arrays(model)
    assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_with_several_threads_the_clock_on_the_wall_counts(detector, told):
    model, graph, config = detector("Export.threads=2")
    with Stopwatch(model, config) as watch:
        assert watch.of_removed(graph, {NECK: 48}) == (8.0, 0.5)
        assert watch._process.place == ("paddle", 2)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_is_timed_in_its_runtime(detector, runtime):
    if not RUNTIMES[runtime].installed:
        pytest.skip(f"package not installed: {RUNTIMES[runtime].package}")
    model, graph, config = detector(f"Export.runtime={runtime}")
    with Stopwatch(model, config) as watch:
        full, part = watch.of_removed(graph, {NECK: 48})
    assert full > 0 and part > 0


def test_a_runtime_without_a_converter_is_an_error_that_names_it(detector, told, monkeypatch):
    from ocrslim.export import source

    monkeypatch.setattr(source, "onnx_lacks", lambda: "paddle2onnx is not installed: pip install paddle2onnx")
    model, graph, config = detector("Export.runtime=onnxruntime")
    with (
        Stopwatch(model, config) as watch,
        pytest.raises(ExportError, match="Export.runtime: ONNX Runtime runs ONNX files: .*pip install paddle2onnx"),
    ):
        watch.of_removed(graph, {NECK: 48})


def test_a_runtime_that_is_not_installed_is_refused_before_the_work(v2_config, monkeypatch):
    monkeypatch.setattr(type(RUNTIMES["openvino"]), "installed", False)
    require_runtime(load_config(v2_config, ["Export.runtime=openvino", "Prune.target={macs: 0.3}"]))
    with pytest.raises(OcrSlimError, match="^Export.runtime: openvino, .*: OpenVINO is not installed: pip install"):
        require_runtime(load_config(v2_config, ["Export.runtime=openvino", "Prune.target={latency: 0.3}"]))


class Refusing(Told):
    """A runtime that does not start, or that starts and does not run the network."""

    at = "open"

    def open(self, path, own=False):
        if self.at == "open":
            raise WeightsError(f"{path}: ONNX Runtime cannot load it: no threads")
        return super().open(path, own)

    def time(self, networks, shape, rounds, warm_up):
        raise WeightsError("no threads")


@pytest.mark.parametrize("at", ["open", "time"])
@pytest.mark.parametrize("work", ["choose", "prune_and_train"])
def test_a_runtime_that_does_not_run_the_network_is_told_before_the_work(work, at, tmp_path, monkeypatch):
    config = load_model_config(
        small_detector(tmp_path / "det.onnx"),
        overrides=[
            *("Prune.target={latency: 0.3}", f"Global.save_model_dir={tmp_path}/out"),
            *(f"{mode}.dataset.data_dir={write_images(tmp_path / mode)}" for mode in ("Train", "Eval")),
        ],
        task="det",
    )
    monkeypatch.setattr(benchmark, "TimingProcess", type("At", (Refusing,), {"at": at}))
    for name in ("with_predicted_labels", "scan_both", "load_prunable_network"):
        monkeypatch.setattr(stage, name, lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(WeightsError) as caught:
        getattr(stage, work)(config)
    line = str(caught.value)
    assert line.startswith("Export.runtime: onnxruntime does not run the network (") and "no threads): name" in line
    assert "-o Export.runtime=paddle or openvino" in line and str(tmp_path) not in line and "ocrslim-" not in line


def test_without_a_target_latency_no_runtime_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "TimingProcess", Refusing)
    require_runnable(
        load_model_config(small_detector(tmp_path / "det.onnx"), overrides=["Prune.target={macs: 0.3}"], task="det")
    )


def test_what_the_runtime_runs_is_let_through(tmp_path, told):
    model = small_detector(tmp_path / "det.onnx")
    require_runnable(load_model_config(model, overrides=["Prune.target={latency: 0.3}"], task="det"))
