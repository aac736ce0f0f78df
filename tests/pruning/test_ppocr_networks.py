"""PaddleOCR's own networks: heads that take labels, layers that are re-parameterised."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("unstructured_paddleocr") is None, reason="unstructured-paddleocr is not installed"
    ),
]
# groups, least share of the MACs in them, MACs: of the deployed networks at 640x640 and 48x320
KNOWN = {
    "det": (27, 0.995, 2_301_935_744),
    "rec with NRTR": (15, 0.94, 702_469_440),
    "rec with SAR": (22, 0.84, 656_847_360),
}


@pytest.fixture(scope="module")
def reports(repo, tmp_path_factory):
    """What one process says of all of them."""
    script = repo / "tests" / "ppocr_networks.py"
    paths = os.pathsep.join([str(repo), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), *KNOWN],
        cwd=tmp_path_factory.mktemp("empty"),  # no checkout of PaddleOCR
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", KNOWN)
def test_they_are_grouped_counted_cut_and_deployed_and_train_on(name, reports):
    found = reports[name]
    groups, share, macs = KNOWN[name]
    assert (found["groups"], found["macs"], found["fault"]) == (groups, macs, "")
    assert found["share"] >= share and found["left"] < 0.65 * macs
    assert found["deployed"] == (name != "rec with SAR") and found["difference"] < 1e-8
