"""Run a `.nb` file for x86 in Paddle Lite: python map_of.py MODEL.nb INPUT.npy OUTPUT.npy

INPUT holds a preprocessed image, float32 [1, 3, H, W]; OUTPUT becomes the map, float32 [1, 1, H, W]. Needs the Python
that `make setup-lite` made, and nothing of ocrslim.
"""

import sys

import numpy as np
from paddlelite import lite


def run(model: str, image: np.ndarray) -> np.ndarray:
    """Return the map; a predictor runs images of one size only (another size gives wrong maps, or crashes)."""
    config = lite.MobileConfig()
    config.set_model_from_file(model)
    predictor = lite.create_paddle_predictor(config)
    predictor.get_input(0).from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    predictor.run()
    return predictor.get_output(0).numpy()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("error: expected MODEL.nb INPUT.npy OUTPUT.npy")
    np.save(sys.argv[3], run(sys.argv[1], np.load(sys.argv[2])))
