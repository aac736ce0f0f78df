"""What `Prune.align` is where nothing says."""

from __future__ import annotations

import pytest

from ocrslim.config import load_config
from ocrslim.inference import RUNTIMES, runtimes
from ocrslim.selection.alignment import block_text, with_block

TARGET = "Prune.target={macs: 0.3}"


@pytest.fixture(params=[True, False], ids=["AVX-512", "without"])
def wide(request, monkeypatch):
    monkeypatch.setattr(runtimes, "has_instructions", lambda name: request.param and name == "avx512f")
    return request.param


@pytest.mark.parametrize("target", ["macs", "params", "latency"])
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("given", [[], ["Prune.align="], ["Prune.align=auto"]], ids=["unset", "empty", "auto"])
def test_with_a_target_it_is_the_block_of_the_runtime(v2_config, wide, target, runtime, given):
    config = load_config(v2_config, [f"Prune.target={{{target}: 0.3}}", f"Export.runtime={runtime}", *given])
    block = 16 if wide and runtime == "onnxruntime" else 8
    assert with_block(config).align == block
    said = f"multiples of {block}, which {RUNTIMES[runtime].title} computes at a time (Prune.align=1"
    assert said in block_text(config)


@pytest.mark.parametrize("given", [1, 4, 16])
def test_what_the_configuration_says_holds(v2_config, given):
    config = load_config(v2_config, [TARGET, f"Prune.align={given}"])
    assert with_block(config).align == given
    assert not block_text(config)


def test_without_a_target_nothing_is_aligned(v2_config):
    config = load_config(v2_config)
    assert with_block(config).align is None
    assert not block_text(config)
