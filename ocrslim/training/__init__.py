"""Training that can be interrupted and resumed, with distillation from the unpruned network."""

from ocrslim.training.checkpointing.run import TRIALS, check_source
from ocrslim.training.distillation import Distillation
from ocrslim.training.fit import fit_network
from ocrslim.training.monitoring.visualdl import wants_event_log

__all__ = ["TRIALS", "Distillation", "check_source", "fit_network", "wants_event_log"]
