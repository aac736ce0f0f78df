"""A fixed spread of the hostile cases, of every family: quick ones (see docs/robustness.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slow import quick

from .case import Case
from .families import FAMILIES, all_cases
from .runner import SKIPPED, Runner, running
from .verdict import OK

REPO = Path(__file__).resolve().parents[2]
SPREAD = {
    "checkpoints": """
        calls-reduce-posix.system calls-stack-global-os.system calls-inst-os.system among-others-objects-without-flags
        dtype-objects-without-flags-in-a-scalar bomb-2-to-the-60-leaves-as-a-key bomb-a-memo-of-2-to-the-30-as-text
        bomb-tuples-1000000-deep-as-a-key shape-a-negative-size no-file-fifo a-backbone-of-imagenet cut-at-0.5
    """,
    "configurations": """
        value-int-of-nothing value-timestamp-of-text value-base-60-of-300000-parts value-far-beyond-unicode
        value-python-apply front-billion-laughs front-merges-of-merges no-file-link-to-dev-zero
        whole-a-surrogate-in-utf-8
    """,
    "settings": """
        train-Train.EastRandomCropData.size=65,65 eval-Eval.DetResizeForTest=image_shape=65,97
        eval-Eval.DetResizeForTest=limit_side_len=0 train-Train.MakeShrinkMap.shrink_ratio=-0.4
        train-Train.MakeShrinkMap.shrink_ration=0.4 train-Train.KeepKeys.keep_keys=image
        predict-PostProcess.max_candidates=1000000000000000000000000000000000000 train-Optimizer.lr.learning_rate=1e30
        export-Global.save_inference_dir=loop export-Global.infer_img=17 Train-without-ToCHWImage
        Eval-twice-ToCHWImage option-10000-parts
    """,
    "labels": """
        file-in-latin-1 label-a-text-of-half-a-character label-lists-100000-deep label-points-of-5001-digits
        no-file-link-to-a-fifo crossed-all-under-eval outside-a-quarter-under-train boxes-twice
    """,
    "images": """
        exr-as-png-predict jpeg-of-30000x30000-eval png-of-40000x40000-predict no-file-link-to-dev-zero
        png-cut-at-a-tenth-predict folder-with-one-png-of-no-size
    """,
    "programs": """
        pdmodel-flipped-3 pdmodel-with-operations-in-reverse pdmodel-with-a-block-inside-itself
        json-with-100000-levels onnx-sizes-of-a-terabyte
    """,
    "states": """
        state-step-text state-step-negative state-an-empty-history state-with-a-scalar-of-objects
        plan-100000-deep event-log-lengths import-onto-its-source
    """,
    "silent": "checkpoints-beside-pretrained-eval transparent-png-eval jpeg-with-a-film-behind-eval",
    "tables": "sen.pickle-forged-2-to-the-60-leaves-prune",
    "controls": """
        eval predict weights-of-protocol-4 weights-without-suffix configuration-with-an-anchor labels-with-crlf
        labels-with-boxes-that-do-not-count images-webp everything-behind-links train-goes-on
    """,
}
IDS = [f"{family}/{name}" for family, names in SPREAD.items() for name in names.split()]
CASES = {case.id: case for case in all_cases()}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with running(REPO) as made:
        yield made


@pytest.mark.parametrize("name", quick(IDS, IDS[::2]))
def test_a_case_ends_as_it_should(name: str, runner: Runner) -> None:
    result = runner.run(CASES[name])
    if result.judged.verdict == SKIPPED:
        pytest.skip(result.judged.detail)
    assert result.judged.verdict == OK, f"{result.judged.detail} ({result.command})"


def test_there_are_as_many_as_the_note_says() -> None:
    controls = [name for name in IDS if CASES[name].control]
    assert len(IDS) - len(controls) >= 60 and len(controls) >= 10
    assert {name.partition("/")[0] for name in IDS} == set(FAMILIES)


def test_cases_are_many_each_has_a_name_and_a_family_of_its_own() -> None:
    assert len(CASES) > 1000 and sum(case.control for case in CASES.values()) >= 25
    assert all(isinstance(case, Case) and case.family in FAMILIES for case in CASES.values())
