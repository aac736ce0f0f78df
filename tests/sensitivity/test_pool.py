"""Processes that measure: one that dies is replaced and loses nothing, one that always dies is told."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sensitivity_case import (
    FAST,
    GROUPS,
    PUBLIC,
    RATIOS,
    analyse_at,
    entries,
    images_once,
    problem,
    traced_once,
    undisturbed,
)

from ocrslim.cli import run_script
from ocrslim.errors import DataError, LoweringError, OcrSlimError
from ocrslim.pruning import prunable as scoring
from ocrslim.sensitivity.workers import pool as workers
from ocrslim.sensitivity.workers.measure import Measurer
from ocrslim.sensitivity.workers.messages import Job
from ocrslim.sensitivity.workers.pool import JobResult, ProcessWorkers, ThisProcess
from ocrslim.tasks.detection.metric import ImageCounts

__all__ = ["problem", "traced_once", "undisturbed"]

# Stands in for a worker: it counts what it is told to, and dies where it is told to. It knows nothing of Paddle,
# so the module that imports it is made up.
STAND_IN = """
import os, sys, time, types
from multiprocessing.connection import Connection
from ocrslim.tasks.detection.metric import ImageCounts

module = "ocrslim.sensitivity.workers.messages"
Job, Finished = (type(name, (), {"__module__": module}) for name in ("Job", "Finished"))
sys.modules[module] = types.ModuleType(module)
sys.modules[module].Job, sys.modules[module].Finished = Job, Finished
connection = Connection(int(sys.argv[1]))
setup = connection.recv()
path = lambda what, image: os.path.join(setup["folder"], f"{what} at {image}")
while (job := connection.recv()) is not None:
    for image in range(job.start, job.stop):
        if os.path.exists(path("die", image)):
            if not setup["again"]:
                os.unlink(path("die", image))
            os.kill(os.getpid(), 9)
        while os.path.exists(path("wait", image)):
            time.sleep(0.01)
        connection.send(ImageCounts(9, 9, image))
    finished = Finished()
    finished.seconds, finished.images, finished.cached = {"forward": 1.0}, 10, 20
    connection.send(job.variant or finished)
"""


@pytest.fixture
def pool(monkeypatch, tmp_path):
    def made(count=1, again=False):
        monkeypatch.setattr(workers, "_PROGRAM", STAND_IN)
        return ProcessWorkers(count).set_up({"folder": str(tmp_path), "again": again})

    return made


def counts(start, stop):
    return tuple(ImageCounts(9, 9, image) for image in range(start, stop))


def answers(pool, number=1):
    found = []
    while len(found) < number:
        found += pool.wait(5)
    return found


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_worker_imports_paddleocr_s_transforms_while_its_setup_is_made(tmp_path):
    script = (
        "import sys; from ocrslim.utils import import_paddle; import_paddle()\n"
        "from ocrslim.sensitivity.workers import process\n"
        "process.serve = lambda connection: print('ppocr' in sys.modules)\n"
        "sys.argv[1:] = ['0']; process.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "True\n"


def test_jobs_come_back_with_all_their_counts(pool):
    jobs = [Job("a", 0.1, 0, 5, None), Job("b", 0.2, 3, 4, None)]
    with pool(2) as both:
        pids = [one.process.pid for one in both._workers]
        for worker, job in enumerate(jobs):
            both.submit(worker, job)
        found = sorted(answers(both, 2), key=lambda answer: answer.worker)
        assert found == [JobResult(0, jobs[0], counts(0, 5)), JobResult(1, jobs[1], counts(3, 4))]
        assert both.unfinished() == [] and both.wait(0.01) == []
        assert both.cached == (20, 40) and both.seconds["forward"] == 2.0
    assert alive(pids) == []


def test_one_that_dies_is_replaced_and_goes_on_at_the_next_image(pool, tmp_path, caplog):
    (tmp_path / "die at 3").touch()
    job = Job("conv1_weights", 0.3, 0, 6, None)
    with pool() as one, caplog.at_level(logging.WARNING):
        one.submit(0, job)
        assert answers(one) == [JobResult(0, job, counts(0, 6))], "no image twice, none left out"
        assert one.seconds["forward"] == 1.0
    (line,) = caplog.messages
    assert line == "worker exited with status -9 while measuring conv1_weights 0.3; restarted"


def test_one_that_dies_without_a_job_is_replaced_when_it_is_needed(pool):
    with pool() as one:
        one._workers[0].process.kill()
        one._workers[0].process.wait()
        one.submit(0, Job("a", 0.1, 0, 2, None))
        assert answers(one)[0].counts == counts(0, 2)


def test_one_that_dies_again_and_again_is_told_and_what_came_is_kept(pool, tmp_path):
    (tmp_path / "die at 2").touch()
    job = Job("conv1_weights", 0.3, 0, 6, None)
    with pool(again=True) as one:
        one.submit(0, job)
        with pytest.raises(OcrSlimError, match=r"crashed 4 times on conv1_weights 0\.3 .*status -9.*Prune\.workers=1"):
            answers(one)
        assert one.unfinished() == [JobResult(0, job, counts(0, 2))]


def test_deaths_are_counted_for_each_job_anew(pool, tmp_path):
    with pool() as one:
        for start in range(workers._MAX_RESTARTS + 1):
            (tmp_path / f"die at {start}").touch()
            one.submit(0, Job("a", 0.1, start, start + 1, None))
            assert answers(one)[0].counts == counts(start, start + 1)


@pytest.mark.parametrize(
    "error", [LoweringError("no step for it"), DataError("x.png: has changed")], ids=["lowering", "data"]
)
def test_what_a_worker_meets_with_is_raised_here(pool, error):
    with pool() as one:
        one.submit(0, Job("a", 0.1, 0, 2, error))
        with pytest.raises(type(error), match=str(error)):
            answers(one)
        assert one.unfinished()[0].counts == counts(0, 2)


def test_what_a_process_has_loaded_is_not_sent_again(pool):
    """The stand-in sends the variant back, which raises here."""
    refused = LoweringError("was sent")
    with pool() as one:
        for image, variant in ((0, None), (1, refused)):
            one.submit(0, Job("a", 0.1, image, image + 1, variant))
            assert answers(one)[0].counts == counts(image, image + 1)
        one._workers[0].process.kill()
        one._workers[0].process.wait()
        one.submit(0, Job("a", 0.1, 2, 3, refused))
        with pytest.raises(LoweringError, match="was sent"):
            answers(one)


def test_leaving_in_the_middle_ends_the_processes_and_tells_what_they_had(pool, tmp_path):
    (tmp_path / "wait at 4").touch()
    with pytest.raises(KeyboardInterrupt), pool() as one:
        pids = [one._workers[0].process.pid]
        one.submit(0, Job("a", 0.1, 1, 9, None))
        while not one.unfinished() or len(one.unfinished()[0].counts) < 3:
            assert one.wait(0.05) == []
        assert one.unfinished()[0].counts == counts(1, 4)
        raise KeyboardInterrupt
    assert alive(pids) == []


class Loops(Measurer):
    """Counts without a network."""

    def __init__(self):
        self.closed = False

    def measure(self, job):
        for image in range(job.start, job.stop):
            yield ImageCounts(9, 9, image)

    def close(self):
        self.closed = True


def test_this_process_measures_between_two_looks_at_the_clock():
    measurer, job = Loops(), Job("a", 0.1, 2, 5, None)
    with ThisProcess(measurer, {}) as here:
        assert here.wait(1) == [] and here.unfinished() == []
        here.submit(0, job)
        assert here.unfinished() == []
        assert here.wait(60) == [JobResult(0, job, counts(2, 5))]
        here.submit(0, job)
        here._counts.append(ImageCounts(9, 9, 2))
        assert here.unfinished() == [JobResult(0, job, counts(2, 3))]
    assert measurer.closed


@pytest.mark.slow
def test_a_real_worker_killed_in_the_middle_changes_nothing(
    problem, undisturbed, traced_once, tmp_path, monkeypatch, caplog
):
    real, killed = ProcessWorkers.wait, []

    def killing(self, seconds):
        one = self._workers[0]
        if one.job and one.job.layer and len(entries(tmp_path)) == 3 and not killed:
            while not one.counts:
                real(self, 0.001)
            killed.append((one.process.pid, len(one.counts)))
            os.kill(one.process.pid, signal.SIGKILL)
        return real(self, seconds)

    monkeypatch.setattr(ProcessWorkers, "wait", killing)
    with caplog.at_level(logging.WARNING):
        analyse_at(problem, GROUPS, RATIOS, tmp_path, FAST)
    assert killed and len([line for line in caplog.messages if "; restarted" in line]) == 1
    assert (tmp_path / "sen.pickle").read_bytes() == (undisturbed.measured.folder / "sen.pickle").read_bytes()
    assert set(images_once(tmp_path, 4).values()) == {4}
    assert alive([pid for pid, _ in killed]) == []


def test_the_command_tells_in_a_line_that_workers_die(
    problem, v2_config, rendered_options, pp_ocrv2, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(workers, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    monkeypatch.setattr(scoring, "model_graph", lambda model, task, tree: problem.graph)
    options = [
        f"Global.pretrain_weights={pp_ocrv2}",
        f"Global.save_model_dir={tmp_path}",
        f"Prune.layers=[{PUBLIC[0]}]",
    ]
    status = run_script("sensitivity", ["-c", str(v2_config), "-o", *rendered_options, *options, "Prune.workers=1"])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert (
        len(errors) == 1
        and "worker crashed 4 times on the unpruned network" in errors[0]
        and "-o Prune.engine=dygraph" in errors[0]
    )
    assert not list(tmp_path.glob(".*")), "no unfinished file"
