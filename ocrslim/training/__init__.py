"""Training that can be interrupted and resumed, with distillation from the unpruned network."""

from ocrslim.training.callbacks import Callback, TrainingStatus
from ocrslim.training.checkpointing.layout import TRIALS
from ocrslim.training.checkpointing.run import check_source
from ocrslim.training.distillation import Distillation, build_distillation
from ocrslim.training.fitting import FitResult, fit
from ocrslim.training.job import TrainingJob
from ocrslim.training.monitoring.visualdl import wants_event_log
from ocrslim.training.pace import Pace, measure_pace
from ocrslim.training.settings import training_sections, with_training_settings
from ocrslim.training.span import epochs_of
from ocrslim.training.stage import train

__all__ = [
    "TRIALS",
    "Callback",
    "Distillation",
    "FitResult",
    "Pace",
    "TrainingJob",
    "TrainingStatus",
    "build_distillation",
    "check_source",
    "epochs_of",
    "fit",
    "measure_pace",
    "train",
    "training_sections",
    "wants_event_log",
    "with_training_settings",
]
