"""The page of the zoo: tables for detectors, recognisers and classifiers, totals, and what fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

TITLES = {"det": "Detectors", "rec": "Recognisers", "cls": "Classifiers"}
SHARES = (0.95, 0.88)  # of the MACs, that totals count architectures by
HEAD = (
    *("architecture", "algorithm", "input", "groups", "prunable MACs", "GMAC", "parameters, M", "oracle"),
    *("training", "s", "what stays"),
)
INTRODUCTION = """# PaddleOCR's architectures

Written by `benchmarks/zoo.py`, whose docstring has the command; figures with all digits are in `zoo.json`.

One row for each distinct `Architecture` section, under the name of its first configuration (+n: others have it too). A
distillation is its student.

- *Prunable MACs*: the share of the deployed network's multiply-accumulates in layers whose output channels are in a
  group. *What stays*: why the others are not, each reason with its share, the largest first.
- *Oracle*: all groups pruned at once, by 30 and by 50 % at random, against the full network with the removed channels
  silenced; with random weights, in double precision, or in single where the network's code does not bear that. The
  largest difference, relative to the largest output.
- *Training*: whether what a training step runs was traced too. *run*: it was not, but the proof runs it, and channels
  that only training reads stay. *no*: not even that; such a network can be cut, but is not trained after it.
- *s*: seconds of the whole process, on a machine that has other work to do.
"""
_ORACLE_HOLDS = 1e-5
_ADVICE = ": expected the shapes that"  # of the library, which says nothing of this network

Found = dict[str, Any]


def page(results: dict[str, Any]) -> str:
    """All results as Markdown."""
    machine = results["machine"]
    measured = f"{machine['cpu']}, Python {machine['python']}, paddlepaddle {machine['paddlepaddle']}."
    parts = [INTRODUCTION, f"{measured}\n"]
    for name, source in results["sources"].items():
        parts.append(f"## By the code of {_source(name, source)}\n")
        found = list(source["architectures"].values())
        parts.append(totals(found))
        for kind, title in TITLES.items():
            rows = [_row(one) for one in found if one["kind"] == kind and "groups" in one]
            if rows:
                parts.append(f"### {title}\n\n{table(HEAD, rows)}\n")
        failed = [one for one in found if _fault(one)]
        if failed:
            rows = [[f"`{one['name']}`", one["stage"], _cell(_fault(one))] for one in failed]
            parts.append(f"### What fails\n\n{table(('architecture', 'stage', 'why'), rows)}\n")
        parts += _refused(found)
    return "\n".join(parts)


def totals(found: Sequence[Found]) -> str:
    """How many build, trace, are prunable by how much, and hold."""
    grouped = [one for one in found if "groups" in one]
    proven = [one for one in grouped if one.get("oracle")]
    shares = [one["prunable_macs_share"] for one in grouped]
    rows = [
        [
            "distinct architectures",
            str(len(found)),
            str(sum(1 + len(one["also"]) for one in found)) + " configurations",
        ],
        ["build", str(sum(one["stage"] not in ("start", "configuration", "build") for one in found)), ""],
        ["trace and group", str(len(grouped)), f"{sum(one['groups'] for one in grouped)} groups"],
        *(
            [f"at least {share:.0%} of the MACs prunable", str(sum(one >= share for one in shares)), ""]
            for share in SHARES
        ),
        ["oracle holds", f"{sum(map(holds, proven))} of {len(proven)}", _worst(proven)],
        ["training traced", str(sum(one["training"] == "traced" for one in grouped)), ""],
        ["training run, not traced", str(sum(one["training"] == "run" for one in grouped)), ""],
    ]
    return table(("", "", ""), rows) + "\n"


def holds(one: Found) -> bool:
    """Whether pruned and silenced network are the same."""
    oracle = one["oracle"]
    return not oracle["faults"] and (oracle["worst"] or 0.0) <= _ORACLE_HOLDS


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _source(name: str, source: Found) -> str:
    code = source["code"]
    title = "a checkout" if name == "checkout" else "the package unstructured-paddleocr"
    return f"{title} ({code['files']} files of networks, SHA-256 {code['sha256']})"


def _row(one: Found) -> list[str]:
    others = f" +{len(one['also'])}" if one["also"] else ""
    training = one["training"] if one["training"] in ("traced", "run") else "no"
    return [
        f"`{one['name']}`{others}",
        one["algorithm"],
        "x".join(map(str, one["input"][1:])),
        str(one["groups"]),
        f"{one['prunable_macs_share']:.1%}",
        f"{one['macs'] / 1e9:.3f}",
        f"{one['params'] / 1e6:.2f}",
        _oracle(one.get("oracle")),
        training,
        f"{one['total_seconds']:.0f}",
        "; ".join(_reasons(one)),
    ]


def _oracle(found: Found | None) -> str:
    if not found:
        return "not run"
    if not found["checks"]:
        return "no groups"
    single = " (single)" if found.get("precision") == "float32" else ""
    return f"{len(found['faults'])} faults{single}" if found["faults"] else f"{found['worst']:.0e}{single}"


def _reasons(one: Found) -> list[str]:
    told = [f"{why['macs_share']:.1%} {_short(why['reason'])}" for why in one["unprunable"]]
    return [*told, *(f"not counted: {name}" for name in one["uncounted"])]


def _short(reason: str) -> str:
    """A reason without what it says of one layer, in few words."""
    text = _cell(reason)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _fault(one: Found) -> str:
    """Why an architecture is not done, or its oracle does not hold; empty where all is well."""
    if one.get("fault"):
        return str(one["fault"]).partition(_ADVICE)[0]
    oracle = one.get("oracle") or {}
    return "; ".join(f"{label}: {fault}" for label, fault in (oracle.get("faults") or {}).items())


def _refused(found: Sequence[Found]) -> list[str]:
    """Configurations that are not read, though their network is fine; and networks that cannot train."""
    refused = [
        [f"`{one['name']}`", _cell("; ".join(one["refused"]))] for one in found if "macs" in one and one.get("refused")
    ]
    cannot = [
        [f"`{one['name']}`", _cell(one["training"])]
        for one in found
        if one.get("training") not in (None, "traced", "run")
    ]
    parts = []
    if refused:
        parts.append(f"### Configurations that are refused\n\n{table(('configuration', 'why'), refused)}\n")
    if cannot:
        parts.append(f"### Training that could not be run\n\n{table(('architecture', 'why'), cannot)}\n")
    return parts


def _worst(proven: Sequence[Found]) -> str:
    worst = [one["oracle"]["worst"] for one in proven if holds(one) and one["oracle"]["worst"] is not None]
    return f"worst {max(worst):.0e}" if worst else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
