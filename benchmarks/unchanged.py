"""Whether another revision of ocrslim still does the same: its commands on two small cases, recorded and compared.

    python benchmarks/unchanged.py record --repo OLD --out BEFORE
    python benchmarks/unchanged.py record --repo NEW --out AFTER --images BEFORE/images
    python benchmarks/unchanged.py compare BEFORE AFTER               # 1, and a list, where anything differs
    python benchmarks/unchanged.py resume --repo NEW --before BEFORE  # goes on with what OLD left half done

Run it in the .venv, on one machine with one paddlepaddle: others round differently. OLD and NEW are checkouts. Their
code is driven through its command lines alone, and this file imports nothing of it, so that it outlives what it
compares. (The images of the first case are rendered by OLD, once, as the renderer is among what moves; those of the
second are taken from `../shared/data`, beside the repository.) Each command runs in the folder of its case, where all
paths are relative, so that two records can be equal wherever they lie.

Compared are all files that the commands leave, byte for byte, their exit codes, what they print on standard output,
their JSON results, and the lines that begin with "error:". Not compared, or not by their bytes:

- Times and versions: the keys in `DROPPED`, and numbers of seconds in what is printed. JSON is compared by its values:
  the keys of a plan that was made in several rounds are in no certain order.
- `latest.pdopt`, which has the seconds of the training: by its arrays and all other values.
- `inference.pdmodel`: Paddle writes into it which line of which file it was called from (`op_callstack`), with
  paths of this machine. It is compared without that, and the size that `export` tells is not compared.
- Log lines and progress, which have rates and remaining times: in the record's folder `logs`.
- What is interrupted: how far it comes depends on the clock. `resume` is about that.

All else came out equal in repeated records of one revision, with one thread and one worker for everything. Nothing is
run that decides by the clock: `Prune.target={latency: ...}`, `Prune.budget_minutes`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from unchanged_cases import CASES, DEMO, IMAGES, RECEIPTS, SIZE, Case, Command, Interruption
from unchanged_content import Reader, largest_difference, told

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
SCRIPTS = {"sensitivity": "sensitivity_anal.py", "prune": "pruning_and_finetune.py", "export": "export_prune_model.py"}
RECORD = "record.json"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FOREIGN = ("PYTHON", "PADDLE", "FLAGS_", "MKL_", "ONEDNN", "DNNL", "GLIBC_", "OMP_", "KMP_")  # variables left out
PACKAGES = ("paddlepaddle", "paddleocr", "numpy", "opencv-python-headless", "pillow", "matplotlib")
VARYING = ((re.compile(r"\b\d+(\.\d+)? ?(s|ms)\b"), "<time>"), (re.compile(r"\b[\d,]+ bytes\b"), "<size>"))
SHOWN = 8  # differences of a file
PATIENCE = 300.0  # seconds until what is to be interrupted has something to go on from
SAME, CHANGED, REFUSED = "resumed to the same", "RESUMED TO SOMETHING ELSE", "REFUSED"


def main() -> int:
    """The command line; 1 where something differs, or was not done."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, by children as well
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run all commands of a checkout, and keep what comes out")
    recording.add_argument("--repo", type=Path, required=True, help="the checkout")
    recording.add_argument("--out", type=Path, required=True, help="new folder for the record")
    recording.add_argument("--images", type=Path, help="`images` of an earlier record; without, they are made")
    comparing = commands.add_parser("compare", help="list what differs between two records")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    resuming = commands.add_parser("resume", help="go on with what was interrupted when the record was made")
    resuming.add_argument("--repo", type=Path, required=True, help="the checkout that is to go on")
    resuming.add_argument("--before", type=Path, required=True, help="the record, which stays as it is")
    arguments = parser.parse_args()
    if arguments.command == "record":
        return record(arguments.repo, arguments.out, arguments.images)
    if arguments.command == "compare":
        return compare(arguments.before, arguments.after)
    return resume(arguments.repo, arguments.before)


class Revision:
    """The commands of one checkout, run in the folders of their cases.

    Attributes:
        failed: commands that ended with another exit code than is right.
        reader: reads what they leave.
    """

    def __init__(self, repo: Path, out: Path):
        """
        Raises:
            SystemExit: it is another ocrslim that would be run.
        """
        self.repo, self.out = repo.resolve(), out.resolve()
        self.failed: list[str] = []
        places = ((self.out, "<out>"), (self.repo, "<repo>"), (Path(np.__file__).parents[1], "<packages>"))
        self.reader = Reader([(str(place), name) for place, name in places])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environment = {**kept, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(self.repo), "LC_ALL": "C.UTF-8"}
        self._console = "ocrslim" if (self.repo / "ocrslim/__main__.py").is_file() else "ocrslim.cli"
        (self.out / "logs").mkdir(parents=True, exist_ok=True)
        imported = self.python("import ocrslim; print(ocrslim.__file__)").strip()
        if not imported.startswith(f"{self.repo}{os.sep}"):
            raise SystemExit(f"error: with {self.repo} first on the path, ocrslim is {imported or 'not found'}")

    def python(self, code: str, *arguments: str) -> str:
        """Run a line of Python with the checkout's library; its standard output."""
        words = [sys.executable, "-c", code, *arguments]
        return subprocess.run(words, cwd=self.out, env=self.environment, capture_output=True, text=True).stdout

    def run(self, case: Case, command: Command) -> dict[str, Any]:
        """Run a command to its end; what it said."""
        name, began = f"{case.name}/{command.name}", time.monotonic()
        done = subprocess.run(
            self._words(case, command),
            cwd=self.out / case.name,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self.log(case, command).write_text(f"{done.stdout}\n{done.stderr}", encoding="utf-8")
        told_last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        wrong = "" if done.returncode == command.code else f", exit code {done.returncode}: {told_last}"
        if wrong:
            self.failed.append(name)
        print(f"{name}: {time.monotonic() - began:.1f} s{wrong}", flush=True)
        return self._said(done)

    def interrupt(self, case: Case, interruption: Interruption) -> None:
        """Start a command, and interrupt it as Ctrl-C does once it has something to go on from."""
        command = interruption.command
        name, folder = f"{case.name}/{command.name}", self.out / case.name / command.name
        began = time.monotonic()
        with self.log(case, command).open("wb") as stream:
            process = subprocess.Popen(
                self._words(case, command),
                cwd=self.out / case.name,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            try:
                while process.poll() is None and not interruption.ready(folder):
                    if time.monotonic() - began > PATIENCE:
                        break
                    time.sleep(0.02)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                code = process.wait(PATIENCE)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if code != 130:
            self.failed.append(name)
        ended = "interrupted" if code == 130 else f"was to be interrupted, and ended with exit code {code}"
        print(f"{name}: {time.monotonic() - began:.1f} s, {ended}", flush=True)

    def log(self, case: Case, command: Command) -> Path:
        """The file that has all that a command said."""
        return self.out / "logs" / f"{case.name}_{command.name}.log"

    def _words(self, case: Case, command: Command) -> list[str]:
        script = str(self.repo / "deploy/slim/prune" / SCRIPTS[command.stage]) if command.script else ""
        program = [script] if script else ["-m", self._console, command.stage]
        options = [f"{key}={value}" for key, value in {**case.options, **command.options}.items()]
        config = ["-c", str(self.repo / case.config)]
        return [sys.executable, *program, *config, "--json", *command.arguments, "-o", *options]

    def _said(self, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
        *lines, last = done.stdout.splitlines() or [""]
        try:
            result = json.loads(last)
        except ValueError:
            lines, result = [*lines, last], None
        for pattern, name in VARYING:
            lines = [pattern.sub(name, line) for line in lines]
        said = {
            "exit code": done.returncode,
            "printed": lines,
            "errors": [line for line in done.stderr.splitlines() if line.startswith("error:")],
            "result": result,
        }
        return self.reader.plain(said)


def record(repo: Path, out: Path, images: Path | None) -> int:
    """Run everything with the code in `repo`, write what came out to `out`; 1 where a command fails."""
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"error: {out}: is not empty: name a new folder")
    if images is not None and not all((images / case.name).is_dir() for case in CASES):
        raise SystemExit(f"error: {images}: expected the folder `images` of a record")
    began, revision = time.monotonic(), Revision(repo, out)
    if images is None:
        make_images(revision)
    else:
        shutil.copytree(images, revision.out / "images")
    said = {}
    for case in CASES:
        folder = revision.out / case.name
        folder.mkdir()
        (folder / "images").symlink_to(f"../images/{case.name}")
        shutil.copyfile(package_file(case), folder / "weights.onnx")
        for command in case.commands:
            said[f"{case.name}/{command.name}"] = revision.run(case, command)
        for interruption in case.interruptions:
            revision.interrupt(case, interruption)
    files = {name: revision.reader.file(revision.out / name) for name in compared_files(revision.out)}
    content = {"about": about(revision.repo), "commands": said, "files": files}
    (revision.out / RECORD).write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(f"{len(said)} commands, {len(files)} files: {out / RECORD}, {time.monotonic() - began:.0f} s")
    for name in revision.failed:
        print(f"failed: {name}, see {out}/logs", file=sys.stderr)
    return 1 if revision.failed else 0


def make_images(revision: Revision) -> None:
    """Render the demo's first images with the checkout's own code, and copy receipts from the shared data.

    Raises:
        SystemExit: the renderer has moved, or there are no receipts.
    """
    if not (revision.repo / "ocrslim/synth.py").is_file():
        raise SystemExit(f"error: {revision.repo}: has no ocrslim/synth.py: give --images of a record of the old code")
    for seed, (part, count) in enumerate(IMAGES.items(), 1):
        render = f"from ocrslim.synth import render_dataset; import sys; render_dataset(sys.argv[1], {count}, {seed}, "
        revision.python(f"{render} ({SIZE}, {SIZE}))", str(revision.out / "images" / DEMO.name / part))
        copy_receipts(part, count, revision.out / "images" / RECEIPTS.name / part)


def copy_receipts(part: str, count: int, folder: Path) -> None:
    """Copy the first `count` receipts to train on, or to score on, numbered and with their labels.

    Raises:
        SystemExit: there are none.
    """
    source = SHARED / "sroie" / f"{'val' if part == 'eval' else part}.txt"
    if not source.is_file():
        raise SystemExit(f"error: {source}: not found: receipts come from there, or with --images from a record")
    (folder / "images").mkdir(parents=True)
    labels = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines()[:count]):
        name, label = line.split("\t")
        shutil.copyfile(source.parent / "images" / name, folder / "images" / f"{number:05d}.jpg")
        labels.append(f"{number:05d}.jpg\t{label}\n")
    (folder / "label.txt").write_text("".join(labels), encoding="utf-8")


def package_file(case: Case) -> Path:
    """The weights of a case, in the installed package that brings them."""
    spec = importlib.util.find_spec(case.package)
    if spec is None or not spec.origin:
        raise SystemExit(f"error: the package {case.package}, which brings the weights, is not installed")
    return Path(spec.origin).parent / case.weights


def compared_files(out: Path) -> list[str]:
    """The files of a record that are compared, hidden ones too: images, and what uninterrupted commands left."""
    names = sorted(path.relative_to(out) for path in (out / "images").rglob("*") if path.is_file())
    for case in CASES:
        left_out = {"images", *(interruption.command.name for interruption in case.interruptions)}
        found = sorted(path.relative_to(out) for path in (out / case.name).rglob("*") if path.is_file())
        names += [name for name in found if name.parts[1] not in left_out]
    return [str(name) for name in names]


def about(repo: Path) -> dict[str, str]:
    """What is told, and not compared: the revision, and what rounding depends on."""
    git = ["git", "-C", str(repo), "describe", "--always", "--dirty=+", "--exclude=*"]
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "revision": subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown",
        "cpu": cpu.group(1).strip() if cpu else "unknown",
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def compare(before: Path, after: Path) -> int:
    """Print what differs between two records; 1 where anything does."""
    for folder in (before, after):
        if not (folder / RECORD).is_file():
            raise SystemExit(f"error: {folder}: has no {RECORD}: expected a folder that `record` has finished")
    old, new = (json.loads((folder / RECORD).read_text(encoding="utf-8")) for folder in (before, after))
    for key, value in old["about"].items():
        if value != new["about"].get(key):
            print(f"{key}: {value} -> {new['about'].get(key)}")
    count = 0
    for kind in ("commands", "files"):
        for name in sorted({*old[kind], *new[kind]}):
            found = told(old[kind].get(name), new[kind].get(name))
            largest = largest_difference(before / name, after / name) if found and kind == "files" else None
            if found:
                count += 1
                print(f"\n{kind[:-1]} {name}")
                for line in (*filter(None, [largest]), *found[:SHOWN]):
                    print(f"    {line}")
                if len(found) > SHOWN:
                    print(f"    ... and {len(found) - SHOWN} more")
    whole = f"{len(old['commands'])} commands, {len(old['files'])} files"
    print(f"\n{count} of these differ: {whole}" if count else f"equal: {whole}")
    return 1 if count else 0


def resume(repo: Path, before: Path) -> int:
    """Go on, in copies, with what was interrupted and what was finished; 1 where the code in `repo` does not."""
    verdicts = []
    with tempfile.TemporaryDirectory() as scratch:
        revision = Revision(repo, Path(scratch))
        for case in CASES:
            if case.interruptions:
                shutil.copytree(before / case.name, revision.out / case.name)  # images too, to which a link leads
            for interruption in case.interruptions:
                for command in (interruption.command, interruption.whole):
                    verdict, line = go_on(revision, case, command, interruption, before / case.name)
                    verdicts.append(verdict)
                    print(f"    {verdict}: {line}", flush=True)
    return 0 if set(verdicts) == {SAME} else 1


def go_on(
    revision: Revision, case: Case, command: Command, interruption: Interruption, before: Path
) -> tuple[str, str]:
    """Run a command where it has left something; a verdict, and the line of its own that tells most."""
    folder, right = revision.out / case.name / command.name, before / interruption.whole.name
    journal = folder / interruption.journal if interruption.journal else None
    known = journal.read_bytes() if journal else b""
    said = revision.run(case, command)
    log = revision.log(case, command).read_text(encoding="utf-8").splitlines()
    if said["exit code"]:
        return REFUSED, (said["errors"] or list(filter(None, log)) or ["it says nothing"])[-1]
    line = next((line for line in log if "continues" in line or "is finished" in line), "no word of going on")
    if journal and not journal.read_bytes().startswith(known):
        return CHANGED, f"{journal.name} was begun anew; {line}"
    for name in interruption.results:
        made = folder / name
        difference = told(revision.reader.file(right / name), revision.reader.file(made) if made.is_file() else None)
        if difference:
            return CHANGED, f"{name}: {difference[0]}; {line}"
    return SAME, line


if __name__ == "__main__":
    sys.exit(main())
