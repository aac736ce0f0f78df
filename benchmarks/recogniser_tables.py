"""What `benchmarks/recogniser.py` measured, as tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from accuracy_bootstrap import RESAMPLES, SEED, Difference, paired_difference
from accuracy_page import commands, page, readings_table, table
from accuracy_plan import Results
from recogniser_part import COLUMNS

UNPRUNED, OURS, PADDLESLIM = "unpruned", "ocrslim", "PaddleSlim"
UNTRAINED, AS_CUT, REFITTED, TRAINED = "not trained", "as cut", "refitted", "trained"
MEASURES = {
    "accuracy": "read",
    "without case": "read_no_case",
    "digits and letters": "read_alphanumeric",
    "1 - NED": "similarity",
    "1 - NED without case": "similarity_no_case",
}
COMPARED = ("accuracy", "without case", "1 - NED without case")
_ROWS = (
    *((UNPRUNED, UNTRAINED), (UNPRUNED, TRAINED), (OURS, AS_CUT), (OURS, REFITTED), (OURS, TRAINED)),
    *((PADDLESLIM, AS_CUT), (PADDLESLIM, TRAINED)),
)
_PAIRS = (
    ((OURS, TRAINED), (UNPRUNED, TRAINED)),
    ((OURS, TRAINED), (UNPRUNED, UNTRAINED)),
    ((OURS, TRAINED), (PADDLESLIM, TRAINED)),
    ((PADDLESLIM, TRAINED), (UNPRUNED, TRAINED)),
    ((OURS, REFITTED), (UNPRUNED, UNTRAINED)),
    ((OURS, REFITTED), (PADDLESLIM, AS_CUT)),
    ((UNPRUNED, TRAINED), (UNPRUNED, UNTRAINED)),
)
_FINE = 1_000_000  # similarities are counted in millionths
_ABOUT = (
    "Accuracy: lines read without a fault; without case: both sides in small letters (labels are capitals where the "
    "print is mixed); digits and letters: these alone, without case; NED: edit distance over the longer text's "
    "length. MACs at 48x320, of what inference runs. All lines count, also those of more than the 25 characters that a "
    "training takes."
)
Name = tuple[str, str]


def document(
    results: Results, machine: Mapping[str, Any], revision: str, settings: Mapping[str, Any], state: Mapping[str, Any]
) -> str:
    """Everything.

    Args:
        settings: what the command line asked for.
        state: `failed`, `missing` (keys of parts) and `readings` (of the test images, by name).
    """
    sections = [
        ("A recogniser with 30 % fewer MACs", _head(machine, revision, settings, state)),
        ("Test: all lines of sroie/test.txt", _scores(results, "test")),
        ("Differences on test", _differences(results)),
        ("Validation: all lines of sroie/val.txt", _scores(results, "select")),
        ("Pruning", _pruning(results)),
        ("Training", _trainings(results)),
        ("The width of a line, on validation", _widths(results)),
        ("Readings of the test images", readings_table(state["readings"])),
        ("Commands", commands(results)),
    ]
    return page(sections)


def score_key(name: Name) -> str:
    """The part that scores a network."""
    return ", ".join((*name, "score"))


def measured(results: Results, name: Name, images: str) -> dict[str, float]:
    """Scores of a network on `select` or `test`, 0..1, by measure."""
    rows = results[score_key(name)]["answer"][images]["receipts"]
    lines = _sum(rows, "lines")
    return {measure: _sum(rows, column) / lines for measure, column in MEASURES.items()}


def difference(results: Results, one: Name, other: Name, measure: str) -> Difference:
    """Difference in a measure on test, receipts drawn anew.

    A share of the lines is the hmean of as many texts found as there are to find, so the bootstrap of detectors serves.
    """
    first, second = (_counts(results[score_key(name)]["answer"]["test"]["receipts"], measure) for name in (one, other))
    return paired_difference([first], [second])


def as_json(results: Results) -> list[dict[str, Any]]:
    """All differences whose networks are scored."""
    return [
        {"one": list(one), "other": list(other), "measure": measure, **asdict(difference(results, one, other, measure))}
        for one, other in _pairs(results)
        for measure in COMPARED
    ]


def _pairs(results: Results) -> list[tuple[Name, Name]]:
    return [pair for pair in _PAIRS if all(score_key(name) in results for name in pair)]


def _counts(rows: Sequence[Sequence[Any]], measure: str) -> list[tuple[int, int, int]]:
    column = COLUMNS.index(MEASURES[measure])
    return [(row[1] * _FINE, row[1] * _FINE, round(row[column] * _FINE)) for row in rows]


def _sum(rows: Sequence[Sequence[Any]], column: str) -> float:
    return float(sum(row[COLUMNS.index(column)] for row in rows))


def _head(machine: Mapping[str, Any], revision: str, settings: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        "PP-OCRv3 mobile rec, weights of `rapidocr-onnxruntime`; calibrated and trained on lines of sroie/train.txt, "
        "choices by val.txt. PaddleSlim's way: FPGM by its own pruner on its own trace of what inference runs, one "
        "ratio for all its groups, trained without distillation; ours: `criterion=reconstruction`, refitted on 128 "
        "lines, trained with distillation. The unpruned network is trained as long too.",
        f"{machine['cpu']}, {machine['cores']} cores; {packages}; revision {revision}. Trainings: epochs "
        f"{settings['epochs']}, batch {settings['batch']}, learning rate {settings['rate']:g}, "
        f"seed {settings['seed']}.",
        _ABOUT,
    ]
    if settings["receipts"]:
        lines.insert(0, "**A try on few receipts: the numbers mean nothing.**")
    lines += [f"**{what}: {'; '.join(state[what])}.**" for what in ("failed", "missing") if state[what]]
    return "\n\n".join(lines)


def _scores(results: Results, images: str) -> str:
    rows = []
    for name in (name for name in _ROWS if score_key(name) in results):
        answer, scores = results[score_key(name)]["answer"], measured(results, name, images)
        removed = [f"{1 - answer[what][1] / answer[what][0]:.1%}" for what in ("macs", "params")]
        rows.append([", ".join(name), *removed, *(f"{scores[measure]:.4f}" for measure in MEASURES)])
    return table(rows, ["network", "MACs removed", "parameters removed", *MEASURES]) if rows else ""


def _differences(results: Results) -> str:
    rows = [
        [", ".join(one), ", ".join(other), *(_said(difference(results, one, other, name)) for name in COMPARED)]
        for one, other in _pairs(results)
    ]
    about = (
        f"In points (hundredths), with the 95 % interval of the paired bootstrap over receipts, {RESAMPLES:,} "
        f"resamples, seed {SEED}; it does not say what other seeds of training would give."
    )
    return f"{about}\n\n{table(rows, ['network', 'less', *COMPARED])}" if rows else ""


def _said(found: Difference) -> str:
    return f"{100 * found.observed:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def _pruning(results: Results) -> str:
    found, lines = {way: results.get(f"{way}, pruned", {}).get("answer") for way in (OURS, PADDLESLIM)}, []
    if found[OURS]:
        macs = found[OURS]["macs"]
        lines.append(
            f"Ours: {len(found[OURS]['ratios'])} groups pruned, {1 - macs[1] / macs[0]:.1%} of the MACs; chosen in "
            f"{found[OURS]['choosing_seconds']:.0f} s, refitted in {found[OURS]['recovery_seconds']:.0f} s."
        )
    if found[PADDLESLIM]:
        theirs = found[PADDLESLIM]
        refusal = theirs["training_trace"]
        lines.append(
            f"PaddleSlim: {theirs['groups']} groups by the ratio {theirs['ratio']:.3f}, {theirs['removed_macs']:.1%} "
            f"of the MACs, in {theirs['seconds']:.0f} s."
            + (f" Its trace of the network as it trains fails (`{refusal}`)." if refusal else "")
        )
    return "\n\n".join(lines)


def _trainings(results: Results) -> str:
    rows = []
    for way in (UNPRUNED, OURS, PADDLESLIM):
        one = results.get(f"{way}, {TRAINED}")
        if one:
            answer = one["answer"]
            steps = [answer["last"]["step"], answer["best"]["step"], f"{answer['train_seconds']:.0f}"]
            rows.append([way, *steps, *(f"{answer[at]['acc']:.4f}" for at in ("start", "best", "last"))])
    if not rows:
        return ""
    about = "Seconds with evaluations, beside other programs; accuracy on the receipts that a training is stopped by."
    headers = ["network", "steps", "best at step", "seconds", "accuracy before", "best", "last"]
    return f"{about}\n\n{table(rows, headers)}"


def _widths(results: Results) -> str:
    answers = {key: one["answer"] for key, one in results.items() if key.startswith("width ")}
    found = {key: (answer["acc"], answer["norm_edit_dis"]) for key, answer in answers.items()}
    if found and score_key((UNPRUNED, UNTRAINED)) in results:
        free = measured(results, (UNPRUNED, UNTRAINED), "select")
        found["as wide as the line, 320 at least"] = free["accuracy"], free["1 - NED"]
    rows = [[name, *(f"{value:.4f}" for value in values)] for name, values in found.items()]
    return table(rows, ["unpruned, not trained", "accuracy", "1 - NED"]) if rows else ""
