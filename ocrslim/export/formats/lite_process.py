"""Run a `.nb` file for x86 in Paddle Lite: python lite_process.py MODEL.nb INPUT.npy OUTPUT.npz

INPUT holds a preprocessed image, float32 [1, C, H, W]; OUTPUT becomes the network's outputs, the first one as `arr_0`:
of a detector the map, [1, 1, H, W]. Runs in the Python that `make setup-lite` made, 3.8 or 3.10, without ocrslim.
"""

from __future__ import annotations

import sys

import numpy as np
from paddlelite import lite


def run(model: str, image: np.ndarray) -> list[np.ndarray]:
    """Return the outputs; a predictor runs images of one size only (another size gives wrong maps, or crashes)."""
    config = lite.MobileConfig()
    config.set_model_from_file(model)
    predictor = lite.create_paddle_predictor(config)
    predictor.get_input(0).from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    predictor.run()
    # copies: what `numpy()` returns is the predictor's memory, which goes with it
    return [predictor.get_output(index).numpy().copy() for index in range(len(predictor.get_output_names()))]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("error: expected MODEL.nb INPUT.npy OUTPUT.npz")
    np.savez(sys.argv[3], *run(sys.argv[1], np.load(sys.argv[2])))
