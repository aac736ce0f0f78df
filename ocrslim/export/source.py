"""What is exported, written in every format that is asked for."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import paddle
import yaml
from paddle import nn

from ocrslim.config import Config
from ocrslim.errors import ExportError
from ocrslim.export.formats.lite import ARM, LITE, LITE_MODEL, lite_lacks, write_lite
from ocrslim.export.formats.onnx import ONNX, ONNX_MODEL, onnx_lacks, write_onnx
from ocrslim.export.formats.paddle import (
    LEGACY,
    MODELS,
    PIR,
    guard_pir,
    save_inference,
    save_legacy,
    save_pir,
    warn_of_pir,
)
from ocrslim.export.formats.source_file import SETTINGS, find_settings, format_of, write_back
from ocrslim.export.rewriting import Rewriter
from ocrslim.export.settings import client_settings
from ocrslim.formats import ONNX_SUFFIX
from ocrslim.graph import deployed
from ocrslim.inference import RUNTIMES
from ocrslim.models import ImportedNetwork
from ocrslim.tasks import CHARACTERS
from ocrslim.utils import write_text

logger = logging.getLogger(__name__)


class Source:
    """A network and the formats that it is exported in.

    A network from a file that is not rewritten is written back as that file; other formats are made from programs of
    Paddle's, each of which is written once.
    """

    def __init__(self, model: nn.Layer, config: Config, scratch: Path):
        """
        Args:
            model: the network, weights loaded; unchanged.
            scratch: an empty folder for programs, and for what else is made of them.
        """
        self.model, self.config = model, config
        self.scratch = scratch
        self._file = Path(str(config.get("Architecture.program"))) if isinstance(model, ImportedNetwork) else None
        self._own = None if self._file is None else format_of(self._file)

    @functools.cached_property
    def native(self) -> str:
        """The format that lies in the export's own folder: that of the network's file, else what this Paddle writes."""
        return self._own or self._native_program[0]

    def formats(self) -> tuple[str, ...]:
        """Return the formats to write, the native one first: those asked for, or it and ONNX where that can be had."""
        asked = self.config.export.formats
        if asked:
            return tuple(sorted(asked, key=lambda kind: kind != self.native))
        if self.native == PIR and self._own is None:
            warn_of_pir()
        lacks = onnx_lacks() if self.native != ONNX else None
        others = () if lacks or self.native == ONNX else (ONNX,)
        logger.info("formats: %s%s", ", ".join((self.native, *others)), f"; no {ONNX}, as {lacks}" if lacks else "")
        return (self.native, *others)

    def require_writers(self) -> None:
        """Demand what the formats asked for need, before any work.

        Raises:
            ExportError: a package is missing; with the command that installs it.
        """
        for kind in self.config.export.formats or ():
            lacks = None
            if kind == ONNX and self._own != ONNX:
                lacks = onnx_lacks()
            elif kind == LITE:
                lacks = lite_lacks(self.config.export.lite_python)
            if lacks:
                raise ExportError(f"Export.formats: {kind}: {lacks}")

    def write(self, kind: str, folder: Path) -> None:
        """Write one format into an empty folder, with its `inference.yml`.

        Raises:
            ExportError: the installed packages cannot write it.
            GraphError: a layer cannot be re-parameterised.
        """
        if kind == self._own and not self._is_rewritten_as(kind):
            assert self._file is not None and isinstance(self.model, ImportedNetwork)
            write_back(self.model, self._file, folder, self.config.task.probe_shape)
        elif kind == ONNX:
            characters = client_settings(self.config)["PostProcess"].get("character_dict")
            metadata = {} if characters is None else {CHARACTERS: "\n".join(characters)}
            own = self._file if kind == self._own else None
            target = folder / (ONNX_MODEL if own is None else own.name)
            write_onnx(self._program_for_onnx, target, metadata, own)
        elif kind == LITE:
            write_lite(str(self.config.export.lite_python), self.program_for_lite, folder / LITE_MODEL, ARM)
        else:
            for file in self._program_in(kind).parent.iterdir():
                shutil.copyfile(file, folder / file.name)
        if kind == PIR:
            guard_pir(folder)
        given = None if self._file is None else find_settings(self._file)
        if given is not None:
            shutil.copyfile(given, folder / SETTINGS)
        else:
            write_text(folder / SETTINGS, yaml.safe_dump(client_settings(self.config), sort_keys=False))
        for name, text in self.config.task.client_files(self.config.section("Global")).items():
            write_text(folder / name, text)

    def _is_rewritten_as(self, kind: str) -> bool:
        """Tell whether a network from a file is to be rewritten, and can be written anew in the format of that file."""
        if not self.config.export.rewrite or self._rewriter.network(kind) is self.model:
            return False
        lacks = onnx_lacks() if kind == ONNX else None
        if kind == LEGACY and self._native_program[0] != LEGACY:
            lacks = (
                f"paddlepaddle {paddle.__version__} cannot write the format {LEGACY}: pip install paddlepaddle==3.1.1"
            )
        if lacks:
            logger.info("%s is written back as it is, not rewritten, as %s", self._file, lacks)
        return not lacks

    def network_for(self, runtime: str) -> Path:
        """Write the network alone, in the format in which it would be exported for a runtime; return the file.

        Args:
            runtime: a key of `RUNTIMES`.

        Raises:
            ExportError: the installed packages cannot write it.
            GraphError: a layer cannot be re-parameterised.
        """
        suffixes = RUNTIMES[runtime].suffixes
        own = self._own
        if own is not None and self._suffix in suffixes and not self._is_rewritten_as(own):
            folder = self.scratch / "own"
            folder.mkdir()
            assert self._file is not None and isinstance(self.model, ImportedNetwork)
            write_back(self.model, self._file, folder, self.config.task.probe_shape)
            return RUNTIMES[runtime].file_of(folder)
        program = self._native_program[1]
        if program.suffix in suffixes:
            return program
        lacks = onnx_lacks()
        if lacks:
            raise ExportError(f"Export.runtime: {RUNTIMES[runtime].title} runs ONNX files: {lacks}")
        write_onnx(self._program_for_onnx, self.scratch / ONNX_MODEL, {})
        return self.scratch / ONNX_MODEL

    @functools.cached_property
    def program_for_lite(self) -> Path:
        """The `.pdmodel` that Paddle Lite's optimiser takes; raises ExportError where this Paddle cannot write it."""
        network = self._rewriter.network(LITE)
        if network is self._rewriter.network(LEGACY):
            return self._program_in(LEGACY)
        folder = self.scratch / "for_lite"
        folder.mkdir()
        save_legacy(network, folder / "inference", self.config.task.free_shape)
        return folder / MODELS[LEGACY]

    @property
    def _suffix(self) -> str:
        """The suffix of the network's own file."""
        return ONNX_SUFFIX if self._own == ONNX else Path(MODELS[str(self._own)]).suffix

    @functools.cached_property
    def _native_program(self) -> tuple[str, Path]:
        """The program that the installed Paddle writes, and its format."""
        return self._written(self._rewriter.network(LEGACY), "native")

    @functools.cached_property
    def _program_for_onnx(self) -> Path:
        """The program that the ONNX file is made of."""
        network = self._rewriter.network(ONNX)
        same = network is self._rewriter.network(LEGACY)
        return self._native_program[1] if same else self._written(network, "for_onnx")[1]

    def _written(self, network: nn.Layer, name: str) -> tuple[str, Path]:
        folder = self.scratch / name
        folder.mkdir()
        kind = save_inference(network, folder / "inference", self.config.task.free_shape)
        return kind, folder / MODELS[kind]

    def _program_in(self, kind: str) -> Path:
        native, path = self._native_program
        folder = self.scratch / kind
        if kind == native:
            return path
        if not folder.is_dir():
            folder.mkdir()
            save: Callable[..., None] = save_legacy if kind == LEGACY else save_pir
            save(self._rewriter.network(kind), folder / "inference", self.config.task.free_shape)
        return folder / MODELS[kind]

    @functools.cached_property
    def _rewriter(self) -> Rewriter:
        """Of the network as it is deployed: re-parameterised, where its layers train as parallel branches."""
        return Rewriter(deployed(self.model), self.config)


def network_for(runtime: str, model: nn.Layer, config: Config, scratch: Path) -> Path:
    """Write a network in the format in which it would be exported for a runtime; see `Source.network_for`."""
    return Source(model, config, scratch).network_for(runtime)
