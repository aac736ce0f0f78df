"""Verdicts: worth it, not worth it, collapsed; and what each of them says."""

from __future__ import annotations

from dataclasses import replace

from ocrslim.compression.agreement import Agreement
from ocrslim.compression.verdict import Measured, verdict_of

GOOD = Agreement("hmean", 0.99, 0.98, 1.0, 12)
FOUND = Measured(0.5, 0.7, GOOD, True, None, "ONNX Runtime with 1 thread")


def test_what_is_faster_and_agrees_is_worth_it_and_rewriting_is_told_apart():
    verdict = verdict_of(FOUND)
    assert verdict.kind == "worth it" and not verdict.advice
    assert "50% faster on ONNX Runtime with 1 thread" in verdict.text and "agrees by 99.0%" in verdict.text
    assert "Rewriting alone, which changes no result, makes it 30% faster" in verdict.text


def test_less_than_five_percent_is_not_worth_it_and_says_what_to_try():
    verdict = verdict_of(replace(FOUND, ratio=0.951))
    assert verdict.kind == "not worth it" and "5% faster" in verdict.text
    assert any("--runtime" in line for line in verdict.advice)
    slower = verdict_of(replace(FOUND, ratio=1.2))
    assert slower.kind == "not worth it" and "20% slower" in slower.text
    assert verdict_of(replace(FOUND, ratio=0.949)).kind == "worth it"


def test_a_collapse_is_named_whatever_its_speed():
    lost = replace(GOOD, value=0.79, low=0.7, high=0.85)
    verdict = verdict_of(replace(FOUND, ratio=0.2, agreement=lost))
    assert verdict.kind == "collapse" and "79.0%" in verdict.text
    assert any("--minutes" in line for line in verdict.advice)
    trained = verdict_of(replace(FOUND, agreement=lost, trained=True))
    assert not any("--minutes" in line for line in trained.advice)


def test_pruning_that_adds_little_to_rewriting_is_said():
    (advice,) = verdict_of(replace(FOUND, ratio=0.68)).advice
    assert "less than 5 % beyond rewriting" in advice


def test_a_model_that_was_only_rewritten_computes_the_same():
    verdict = verdict_of(replace(FOUND, pruned=False, ratio=0.7))
    assert verdict.kind == "worth it" and "computes the same" in verdict.text and "agrees" not in verdict.text
