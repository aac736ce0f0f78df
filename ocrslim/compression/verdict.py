"""Whether a smaller model is worth having, in a sentence or two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocrslim.compression.agreement import Agreement

WORTH_IT, NOT_WORTH_IT, COLLAPSE = "worth it", "not worth it", "collapse"
LEAST_GAIN = 0.05  # of the time: with less, a file is not worth replacing
COLLAPSED = 0.8  # of agreement: with less, it is another model


@dataclass(frozen=True)
class Measured:
    """What a verdict is made of.

    Attributes:
        ratio: time relative to the file as it came.
        rewritten: the same of the file that was only rewritten, without a loss.
        agreement: with the unpruned model, on images held out.
        pruned: whether anything was pruned.
        target: what was asked for; None for the largest that the images bear.
        place: where it was timed, for people.
        trained: whether it was trained.
    """

    ratio: float
    rewritten: float
    agreement: Agreement
    pruned: bool
    target: Mapping[str, float] | None
    place: str
    trained: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether it is worth it, why, and what to do next.

    Attributes:
        kind: one of the three.
        text: a sentence or two.
        advice: what to try, a sentence each.
    """

    kind: str
    text: str
    advice: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"kind": self.kind, "text": self.text, "advice": list(self.advice)}


def verdict_of(found: Measured) -> Verdict:
    """Judge what was measured."""
    agreement, faster = found.agreement, 1 - found.ratio
    held = f"agrees by {agreement.value:.1%} with the unpruned model (95 % interval {agreement.low:.1%} to "
    held += f"{agreement.high:.1%}, {agreement.images} images)"
    if found.pruned and agreement.value < COLLAPSED:
        return Verdict(COLLAPSE, f"It has collapsed: it {held}, whatever its speed.", _after_collapse(found))
    gain = f"{abs(faster):.0%} {'faster' if faster >= 0 else 'slower'} on {found.place}"
    alone = _rewriting(found)
    if faster < LEAST_GAIN:
        text = f"It is {gain}, and less than {LEAST_GAIN:.0%} is not worth a new file. {alone}"
        return Verdict(NOT_WORTH_IT, text.strip(), _after_too_little(found))
    kept = held if found.pruned else "computes the same, as it was rewritten and not pruned"
    return Verdict(WORTH_IT, f"It is {gain}, and {kept}. {alone}".strip(), _after_success(found))


def _rewriting(found: Measured) -> str:
    """Say what rewriting alone gives, so that what pruning brought is told apart."""
    if not found.pruned:
        return ""
    part = 1 - found.rewritten
    if abs(part) < 0.01:
        return "Rewriting alone brings nothing."
    return f"Rewriting alone, which changes no result, makes it {part:.0%} faster."


def _after_collapse(found: Measured) -> tuple[str, ...]:
    advice = ["ask for less: a smaller --target, or none, which finds the largest that your images bear"]
    if not found.trained:
        advice.append("let it train: --minutes 20, with --labels where you have some")
    return tuple(advice)


def _after_too_little(found: Measured) -> tuple[str, ...]:
    advice = []
    if not found.pruned or found.target is None:
        advice.append("ask for more and let it train: --target macs=0.5 --minutes 20")
    else:
        advice.append("ask for more: a larger --target")
    advice.append("another runtime may gain where this one does not: --runtime openvino or onnxruntime")
    advice.append("a recogniser of one script may lose most of its characters instead: --chars FILE")
    return tuple(advice)


def _after_success(found: Measured) -> tuple[str, ...]:
    if not found.pruned:
        return ("for more, let it train: --target macs=0.5 --minutes 20",)
    if found.rewritten - found.ratio < LEAST_GAIN:
        return (
            "pruning brings less than 5 % beyond rewriting here; rewriting alone costs no agreement: "
            "ocrslim export MODEL -o Export.rewrite=true Global.save_inference_dir=FOLDER",
        )
    return ()
