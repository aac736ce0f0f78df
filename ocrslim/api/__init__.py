"""Pruning from Python: the stages of the three scripts as functions and values.

    import ocrslim

    model = ocrslim.load("det.yml", weights="best_accuracy")
    table = ocrslim.analyse(model, "val.txt", data_dir="images")
    small = ocrslim.prune(model, table, target={"latency": 0.4})
    small.fit("train.txt", "val.txt", data_dir="images").export("inference_model")

Every setting of the configuration can be given by its dotted name, as on the command line:
`ocrslim.load("det.yml", options={"Global.seed": 1})`. An interrupted call continues when it is called again with the
same arguments. Nothing is printed to standard output: messages go to the logger `ocrslim`.
"""

from ocrslim.api.functions import analyse, charset, compress, compress_pair, load, prune
from ocrslim.api.model import Model, PrunedModel
from ocrslim.api.picture import Picture
from ocrslim.api.table import SensitivityTable
from ocrslim.vocabulary import CutCharacters

__all__ = [
    "CutCharacters",
    "Model",
    "Picture",
    "PrunedModel",
    "SensitivityTable",
    "analyse",
    "charset",
    "compress",
    "compress_pair",
    "load",
    "prune",
]
