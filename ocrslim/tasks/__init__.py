"""Tasks, the purposes of models: labels, outputs, metric, loss."""

from ocrslim.tasks.base import Task
from ocrslim.tasks.classification import Classification
from ocrslim.tasks.data_task import DataTask
from ocrslim.tasks.detection import NECK_STEP, SCALES, Detection
from ocrslim.tasks.detection.metric import ImageCounts, scores_of
from ocrslim.tasks.end_to_end import Line, count_lines, lines_of_label
from ocrslim.tasks.networks import REGISTERED_PARTS, is_registered
from ocrslim.tasks.recognition import Recognition
from ocrslim.tasks.recognition.dictionary import (
    CHARACTERS,
    DICTIONARIES,
    characters_of,
    dictionary_name,
    dictionary_text,
)
from ocrslim.tasks.recognition.wanted import Wanted, characters_in, read_wanted
from ocrslim.tasks.registry import DEFAULT, register, task_of, task_types
from ocrslim.tasks.schema import TaskSchema
from ocrslim.tasks.sections import MultiScaleSampler
from ocrslim.tasks.values import (
    Counts,
    Defaults,
    Distilled,
    Label,
    Losses,
    Operator,
    Outline,
    Output,
    PostProcess,
    Ratio,
    RefusedArguments,
    Sample,
    Shape,
    Size,
    named_outputs,
)

__all__ = [
    "CHARACTERS",
    "DEFAULT",
    "DICTIONARIES",
    "NECK_STEP",
    "REGISTERED_PARTS",
    "SCALES",
    "Counts",
    "DataTask",
    "Defaults",
    "Distilled",
    "ImageCounts",
    "Label",
    "Line",
    "Losses",
    "MultiScaleSampler",
    "Operator",
    "Outline",
    "Output",
    "PostProcess",
    "Ratio",
    "RefusedArguments",
    "Sample",
    "Shape",
    "Size",
    "Task",
    "TaskSchema",
    "Wanted",
    "characters_in",
    "characters_of",
    "count_lines",
    "dictionary_name",
    "dictionary_text",
    "is_registered",
    "lines_of_label",
    "named_outputs",
    "read_wanted",
    "register",
    "scores_of",
    "task_of",
    "task_types",
]

for task in (Detection(), Recognition(), Classification()):
    register(task)
