"""What the operators of a program compute, in dygraph: one table from operator to function."""

from ocrslim.models.imported.operators import arrangement, elementwise, maps, reductions  # noqa: F401  (registration)
from ocrslim.models.imported.operators.maps import padding_of
from ocrslim.models.imported.operators.onnx_alone import require_runtime, run_alone
from ocrslim.models.imported.operators.table import FUNCTIONS

__all__ = ["FUNCTIONS", "padding_of", "require_runtime", "run_alone"]
