"""What `benchmarks/real_models.py` measured, as tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from accuracy_bootstrap import RESAMPLES, SEED, Difference, paired_difference
from accuracy_page import commands, page, readings_table, table
from accuracy_plan import Results
from accuracy_tables import other_processors
from real_models_plan import DETECTION, MODELS, REFITTED, STATES, TIME, UNPRUNED, WITH_CLIENT, Model

_READ = 3  # column of `real_models_part.COLUMNS[RECOGNITION]`: read without case
_MEGA = 1e6
_ABOUT = (
    "Score: a detector's hmean; of a recogniser the lines read without a fault, capitals and spaces aside (labels are "
    "capitals where the print is mixed). Lost: points (hundredths) against the unpruned network, with the 95 % "
    f"interval of the paired bootstrap over receipts, {RESAMPLES:,} resamples, seed {SEED}. MACs at 736x1280 and "
    "48x320. Milliseconds of the CPU: one pass at that size, one thread, the format's own runtime (Paddle Inference "
    "with oneDNN, ONNX Runtime), unpruned and refitted in turns, medians; of ONNX files also a matter of denormal "
    "numbers (README.md). Size: of all files that the runtime reads."
)


def document(
    results: Results, machine: Mapping[str, Any], revision: str, settings: Mapping[str, Any], state: Mapping[str, Any]
) -> str:
    """Everything.

    Args:
        settings: what the command line asked for.
        state: `failed`, `missing` (keys of parts) and `readings` (of the test images, by name).
    """
    sections = [
        (
            "Real models without their training code, 30 % fewer MACs",
            "\n\n".join([_head(machine, revision, settings, state), *other_processors(results)]),
        ),
        ("Test: sroie/test.txt", _scores(results, "test")),
        ("Validation: sroie/val.txt", _scores(results, "select")),
        ("Unpruned, in the client", _clients(results)),
        ("Models", _models()),
        ("Readings of the test images", readings_table(state["readings"])),
        ("Commands", commands(results)),
    ]
    return page(sections)


def score_key(model: Model, state: str) -> str:
    """The part that scores a network."""
    return f"{model.name}, {state}, score"


def loss(results: Results, model: Model, state: str, images: str) -> Difference:
    """Score of the unpruned network less that of a pruned one."""
    first, second = (
        _counts(results[score_key(model, one)]["answer"][images]["receipts"], model.task) for one in (UNPRUNED, state)
    )
    return paired_difference([first], [second])


def as_json(results: Results) -> list[dict[str, Any]]:
    """What each pruned network lost on test."""
    return [
        {"model": model.name, "state": state, "target": model.target, **asdict(loss(results, model, state, "test"))}
        for model in MODELS
        for state in STATES[1:]
        if all(score_key(model, one) in results for one in (UNPRUNED, state))
    ]


def _counts(rows: Sequence[Sequence[Any]], task: str) -> list[tuple[int, int, int]]:
    """Boxes to find, found, matched; a share of lines is the hmean of as many texts found as there are to find."""
    if task == DETECTION:
        return [tuple(int(value) for value in row[1:4]) for row in rows]  # type: ignore[misc]
    return [(int(row[1]), int(row[1]), int(row[_READ])) for row in rows]


def _head(machine: Mapping[str, Any], revision: str, settings: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        "Each model as a package has it, a folder or an ONNX file, pruned by `ocrslim prune MODEL --task TASK -o "
        "'Prune.target={macs: 0.3}'` on images without labels: calibrated on "
        f"{settings['det_images']} receipts or {settings['rec_images']} lines of sroie/train.txt; what is kept of a "
        "refit is chosen by what the unpruned network finds in images of sroie/val.txt. Written back in the format it "
        "came in.",
        f"{machine['cpu']}, {machine['cores']} cores; {packages}; revision {revision}.",
        _ABOUT,
    ]
    if settings["receipts"]:
        lines.insert(0, "**A try on few receipts: the numbers mean nothing.**")
    lines += [f"**{what}: {'; '.join(state[what])}.**" for what in ("failed", "missing") if state[what]]
    return "\n\n".join(lines)


def _scores(results: Results, images: str) -> str:
    rows = []
    for model in MODELS:
        for state in STATES:
            found = results.get(score_key(model, state))
            if found:
                score = found["answer"][images]["score"]
                rows.append([model.name, state, f"{score:.4f}", _lost(results, model, state, images)])
                rows[-1] += [*_costs(results, model, state), f"{found['answer']['bytes'] / _MEGA:.2f}"]
    return table(rows, ["model", "", "score", "lost", "MACs", "CPU ms", "MB"]) if rows else ""


def _lost(results: Results, model: Model, state: str, images: str) -> str:
    if state == UNPRUNED or score_key(model, UNPRUNED) not in results:
        return ""
    found = loss(results, model, state, images)
    said = f"{100 * found.observed:.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"
    if state == REFITTED and model.target is not None and images == "test":
        return f"{said}, of {model.target:g} at most"
    return said


def _costs(results: Results, model: Model, state: str) -> list[str]:
    """MACs and milliseconds."""
    pruned, time = (
        results.get(f"{model.name}, {REFITTED if state == UNPRUNED else state}"),
        results.get(f"{model.name}, {TIME}"),
    )
    macs = milliseconds = ""
    if pruned:
        before, after = pruned["answer"]["macs"]
        macs = f"{before / 1e9:.3f} G" if state == UNPRUNED else f"{after / 1e9:.3f} G ({after / before - 1:+.1%})"
    if time and state in (UNPRUNED, REFITTED):
        answer = time["answer"]
        milliseconds = f"{answer['unpruned_ms']:.1f}"
        if state == REFITTED:
            milliseconds = f"{answer['ms']:.1f} ({answer['ratio'] - 1:+.0%})"
    return [macs, milliseconds]


def _clients(results: Results) -> str:
    rows = []
    for model in WITH_CLIENT:
        found = results.get(f"{model.name}, client")
        if found:
            answer = found["answer"]
            rows.append(
                [
                    model.name,
                    *(f"{answer[name]:.4f}" for name in ("ours", "client")),
                    f"{max(answer['difference']):.1e}",
                ]
            )
    about = (
        "Scores on the first receipts of sroie/val.txt: of the network that was read from the file, as layers, and of "
        "rapidocr-onnxruntime 1.2.3 with the same file, resizing and thresholds (of a folder, the same network's ONNX "
        "file). rapidocr drops boxes of at most 3 pixels, and gives a short line no padding to 320. Of the classifier: "
        "the share of lines, each upright and turned around, of which the direction is told. Difference: largest of "
        "the output to the runtime's of the format, on some of the images."
    )
    return f"{about}\n\n{table(rows, ['model', 'here', 'rapidocr', 'difference'])}" if rows else ""


def _models() -> str:
    return table([[model.name, model.package, model.path] for model in WITH_CLIENT], ["model", "package", "path"])
