"""Tables for the terminal, pictures of results, boxes drawn on images."""

from ocrslim.report.drawing import contact_sheet
from ocrslim.report.plots import SensitivityPicture, draw_sensitivities
from ocrslim.report.plots.training import TrainingPicture, draw_training
from ocrslim.report.tables import comparison_table, decisions_table, groups_text, plan_table, sensitivity_table

__all__ = [
    "SensitivityPicture",
    "TrainingPicture",
    "comparison_table",
    "contact_sheet",
    "decisions_table",
    "draw_sensitivities",
    "draw_training",
    "groups_text",
    "plan_table",
    "sensitivity_table",
]
