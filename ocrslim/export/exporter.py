"""Export of a network to an inference folder, proven against the network.

The folder appears complete or not at all: files are written to a staging folder beside it, checked by running
them, and then renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from ocrslim.config import Config
from ocrslim.data import NetworkMemory, Prepared, Preprocessor
from ocrslim.export.clients import client_calls
from ocrslim.export.exported import Exported, ExportedFormat
from ocrslim.export.formats.onnx import ONNX, opset_of
from ocrslim.export.quantising.int8 import int8_images, require_int8, write_int8
from ocrslim.export.runtimes import runtimes
from ocrslim.export.sample_image import sample_image
from ocrslim.export.source import Source
from ocrslim.export.staging import PROOF, check_target, model_files, put_in_place, resolve_target, staging_folder
from ocrslim.export.verification import Verifier
from ocrslim.inference import DygraphEngine
from ocrslim.models import state_arrays
from ocrslim.pruning import Network
from ocrslim.utils import hash_arrays, scratch_folder, write_json


def export_network(network: Network, config: Config, folder: Path, place: Path | None = None) -> Exported:
    """Export a network with its plan, proven on the sample image; arguments and errors as in `export`."""
    model = network.model
    with sample_image(config) as path:
        sample = Preprocessor(config, NetworkMemory(DygraphEngine(model), config.task))(path)
    plan = None if network.plan is None else network.plan.hash()
    origin = {"source": network.source, "weights": hash_arrays(state_arrays(model)), "plan": plan}
    return export(model, config, folder, sample, origin, place)


def export(
    model: nn.Layer,
    config: Config,
    folder: Path,
    sample: Prepared,
    origin: Mapping[str, Any],
    place: Path | None = None,
) -> Exported:
    """Write `model` in the formats of `Export.formats`, with dynamic batch and size, and prove each on `sample`.

    What is written is the network that is deployed: re-parameterised, where its layers train as parallel branches.
    The native format lies in `folder` itself: the legacy one of Paddle, which most clients read, or PIR where
    paddlepaddle cannot write that (3.2 and later); of a network from a file, that file's. Every other format lies in
    a folder in it, called after the format.

    Args:
        model: the source, weights loaded; unchanged.
        sample: a photograph.
        origin: further content for `export.json`, such as source and plan.
        place: where the caller moves the files to, for the calls of clients; None where they stay.

    Raises:
        ExportError: an exported model differs from `model`, as `Verifier.proof` says, or cannot be written here.
        GraphError: a layer cannot be re-parameterised.
        ArtifactError: `folder` cannot be written, or holds files that are not of an export.
        DataError: `Export.int8` has too few images, or none that can be read.
    """
    target, folder = place or folder, resolve_target(folder)
    check_target(folder)
    with staging_folder(folder) as staged, scratch_folder() as scratch:
        source = Source(model, config, scratch)
        source.require_writers()
        kinds = source.formats()
        require_int8(config, kinds)
        images = int8_images(config)
        verifier = Verifier(model, config, sample)
        made = [_write_and_prove(source, verifier, kind, staged, folder.name) for kind in kinds]
        calls = client_calls(
            config, {each.format: target / model_files(each.folder)[0].relative_to(staged) for each in made}
        )
        int8 = None
        if images is not None:
            onnx = next(each for each in made if each.format == ONNX)
            int8 = write_int8(model_files(onnx.folder)[0], config, staged, images)
        origin = {**origin, "paddlepaddle": paddle.__version__}
        for each in (one for one in made if one.folder != staged):
            write_json(each.folder / PROOF, {**origin, **each.to_json(), "clients": calls})
        summary = {each.format: {**each.to_json(), "folder": str(each.folder.relative_to(staged))} for each in made}
        proof = {**origin, "config": config.tree, **made[0].to_json(), "formats": summary, "clients": calls}
        write_json(staged / PROOF, {**proof, **({"int8": int8.to_json()} if int8 else {})})
        put_in_place(staged, folder)
    placed = tuple(replace(each, folder=folder / each.folder.relative_to(staged)) for each in made)
    quantised = int8 and replace(int8, file=folder / int8.file.relative_to(staged))
    return Exported(folder, placed, calls, quantised)


def _write_and_prove(source: Source, verifier: Verifier, kind: str, staged: Path, name: str) -> ExportedFormat:
    """Write one format, the native one into the export's folder and others into their own, and run it."""
    folder = staged if kind == source.native else staged / kind
    folder.mkdir(exist_ok=True)
    source.write(kind, folder)
    name = name if folder == staged else f"{name}/{kind}"
    proof = verifier.proof(runtimes(kind, folder, source), name, folder)
    files = model_files(folder)
    details = {"opset": opset_of(files[0])} if kind == ONNX else {}
    return ExportedFormat(kind, folder, sum(path.stat().st_size for path in files), proof, details)
