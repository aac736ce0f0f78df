"""The library's layers: a file imports only files listed above it, and stages know nothing of each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ORDER = """
    errors utils utils.input_files utils.text utils.yaml_values utils.fields
    artifacts
    formats formats.faults formats.pickled_arrays formats.nesting formats.safe_pickle
    formats.protobuf formats.tensor_shapes formats.operations formats.legacy_program formats.pir_program
    formats.program_check formats.paddle_tensors formats.onnx_weights formats.sensitivity_table
    progress ranks interrupts startup
    yamlfile rules tasks tasks.detection tasks.detection.operators tasks.detection.pipeline
    schema overrides checker config
    models.backbones.mobilenet_v3 models.backbones models.necks.db_fpn models.necks
    models.heads.db_head models.heads models.detector models.names models
    weight_files weight_remedies weights
    ppocr image_files labels label_faults network_input stand_in_operators transforms labelled batches store data
    metrics inference inference.predictor inference.first_load engines evaluate
    graph graph.groups graph.program graph.coupling graph.rules graph.rules_channelwise graph.rules_joins
    graph.rules_layers graph.rules_shape
    graph.build graph.trace
    runtime runtime.steps runtime.linear runtime.plans runtime.phases runtime.algebra
    runtime.cut runtime.division runtime.legacy runtime.lowering runtime.predictor runtime.variants
    runtime.fronts runtime.runner runtime.engine
    pruning pruning.plan pruning.optimizer_state pruning.surgery
    pruning.criteria pruning.pruners pruning.cost pruning.counts pruning.latency pruning.damage pruning.target
    pruning.patterns pruning.select pruning.slim_plan pruning.slim pruning.proof
    pruning.affine pruning.refit pruning.reference pruning.recover pruning.reconstruct
    sequential curves search standing sensitivity_display
    network
    plots.picture plots.scale plots.page plots.heat_map plots.small_multiples plots plots.training
    loss_table journal measurements sharing study agenda measuring variants worker workers
    sensitivity
    losses calibration scoring optim averaging history event_log recorder snapshots checkpoints
    distill divergence precision stepper rollback runfolder takeover display saver trainer finetune
    export
    report synth predict
    stopwatch latency_goal planning analysis trials stages rounds prune demo cli
""".split()
STAGES = ("sensitivity", "finetune", "export")


def modules(package: Path) -> dict[str, Path]:
    found = {}
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if name != "__init__":
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    """Modules of ocrslim that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ocrslim"):
            base = node.module.removeprefix("ocrslim").lstrip(".")
            for alias in node.names:
                candidate = f"{base}.{alias.name}".lstrip(".")
                found.add(candidate if candidate in ORDER else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("ocrslim.") for a in node.names if a.name.startswith("ocrslim.")}
    return found - {""}


def test_the_order_names_every_file(repo):
    assert set(modules(repo / "ocrslim")) == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_upwards(repo, name):
    above = ORDER[: ORDER.index(name)]
    assert imports(modules(repo / "ocrslim")[name]) <= {*above}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_do_not_import_one_another(repo, stage):
    assert not imports(modules(repo / "ocrslim")[stage]) & set(STAGES)


def test_configuration_errors_show_before_paddle_is_imported():
    import subprocess
    import sys

    code = "import sys, ocrslim.cli.main; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
