"""Paddle Lite's optimiser takes a real detector, and its runtime for x86 gives the detector's map."""

from __future__ import annotations

import json

import pytest
from exports import REPO, require_installed

from ocrslim.cli import main

pytestmark = pytest.mark.slow
PYTHON = "build/deploy/lite/bin/python"


def test_pp_ocrv2_for_arm_is_proven_by_its_twin_for_x86(v2_config, pp_ocrv2, tmp_path, capsys):
    require_installed(PYTHON)
    changes = [f"Global.pretrain_weights={pp_ocrv2}", f"Global.save_inference_dir={tmp_path}/m", "Global.use_gpu=false"]
    changes += ["Export.formats=[paddle, lite]", f"Export.lite_python={REPO / PYTHON}"]
    assert main(["export", "-c", str(v2_config), "--json", "-o", *changes]) == 0
    proofs = json.loads(capsys.readouterr().out.splitlines()[-1])["formats"]
    assert proofs["lite"]["max_difference"]["paddle_lite_x86"] <= 3e-4 and proofs["lite"]["control_difference"] > 0.1
    assert proofs["lite"]["same_items"][0] == proofs["lite"]["same_items"][1] > 2
    weights = (tmp_path / "m/inference.pdiparams").stat().st_size
    assert 0.9 * weights < (tmp_path / "m/lite/inference.nb").stat().st_size < 1.2 * weights
