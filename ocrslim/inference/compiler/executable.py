"""A lowered part of a network, loaded into Paddle Inference from memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle

from ocrslim.errors import LoweringError
from ocrslim.inference.compiler.lowering import Lowered, name_of
from ocrslim.utils import cause_of

_GPU_MEMORY_MB = 256


class Executable:
    """Runs one part of a network; to be used in the thread that made it, as oneDNN keeps its state by thread."""

    def __init__(self, lowered: Lowered, threads: int = 1, use_gpu: bool = False):
        """
        Args:
            threads: CPU threads of one call.
            use_gpu: run on the GPU that Paddle has selected (untested: no GPU was at hand).

        Raises:
            LoweringError: Paddle Inference cannot load it.
        """
        from paddle import inference

        config = inference.Config()
        program, parameters = lowered.program, lowered.parameters
        config.set_model_buffer(program, len(program), parameters, len(parameters))
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        config.enable_mkldnn()
        if use_gpu:
            config.enable_use_gpu(_GPU_MEMORY_MB, paddle.framework._current_expected_place().get_device_id())
        config.switch_ir_optim(use_gpu)  # on the CPU everything is fused already
        config.enable_memory_optim()
        try:
            self._predictor = inference.create_predictor(config)
        except Exception as error:  # Paddle raises many types
            raise _refused(error) from None
        self._feeds = [self._predictor.get_input_handle(name_of(value)) for value in lowered.inputs]
        self._fetches = [self._predictor.get_output_handle(name) for name in self._predictor.get_output_names()]

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for float32 `inputs` [N, C, H, W], both in the order of the lowered part.

        Raises:
            LoweringError: Paddle Inference cannot run it.
        """
        try:
            for feed, array in zip(self._feeds, inputs):
                feed.reshape(array.shape)
                feed.copy_from_cpu(array)
            self._predictor.run()
            return [fetch.copy_to_cpu() for fetch in self._fetches]
        except Exception as error:  # Paddle raises many types
            raise _refused(error) from None


def _refused(error: Exception) -> LoweringError:
    return LoweringError(f"paddlepaddle {paddle.__version__} cannot run the network with oneDNN ({cause_of(error)})")
