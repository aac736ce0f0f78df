"""Exported networks as clients run them: values that share memory, at one size after another."""

from __future__ import annotations

import numpy as np
import pytest
from file_networks import Detector, exported
from small_export import FORMATS

from ocrslim.inference import RUNTIMES, InferenceEngine


@pytest.mark.parametrize("kind", FORMATS)
def test_values_that_share_memory_change_nothing(kind, tmp_path):
    folder = exported(Detector, tmp_path / "model", kind)
    plain, lean = (InferenceEngine(folder, onednn=True, own=True, as_client=each) for each in (False, True))
    rng = np.random.default_rng(0)
    for batch, width in ((1, 48), (3, 96), (1, 48), (2, 192)):
        image = rng.standard_normal((batch, 3, 32, width)).astype(np.float32)
        np.testing.assert_allclose(lean(image), plain(image), atol=1e-6)


@pytest.mark.skipif("legacy" not in FORMATS, reason="this Paddle writes no legacy program")
def test_the_runtime_of_paddle_is_opened_as_clients_open_it(tmp_path, monkeypatch):
    from paddle import inference

    asked = []
    monkeypatch.setattr(inference.Config, "enable_memory_optim", lambda self, *_: asked.append(self))
    folder = exported(Detector, tmp_path / "model", "legacy")
    runtime = RUNTIMES["paddle"]
    runtime.open(runtime.file_of(folder), 1, True)
    assert len(asked) == 1
    InferenceEngine(folder, own=True)
    assert len(asked) == 1
