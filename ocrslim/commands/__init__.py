"""The commands, each a function of a configuration; `--json` prints the value that it returns."""

from ocrslim.commands.bench import run_bench
from ocrslim.commands.charset import run_charset
from ocrslim.commands.compress import run_compress, run_compress_pair
from ocrslim.commands.evaluate import run_eval
from ocrslim.commands.export import run_export
from ocrslim.commands.groups import run_groups
from ocrslim.commands.import_weights import run_import
from ocrslim.commands.predict import run_predict
from ocrslim.commands.prune import run_dry, run_prune
from ocrslim.commands.report import run_samples
from ocrslim.commands.sensitivity import run_merge, run_sensitivity
from ocrslim.commands.train import run_train

__all__ = [
    "run_bench",
    "run_charset",
    "run_compress",
    "run_compress_pair",
    "run_dry",
    "run_eval",
    "run_export",
    "run_groups",
    "run_import",
    "run_merge",
    "run_predict",
    "run_prune",
    "run_samples",
    "run_sensitivity",
    "run_train",
]
