"""Tables for the terminal, pictures of results, boxes drawn on images."""

from ocrslim.report.export_times import bench_table
from ocrslim.report.html.differences import count_differences
from ocrslim.report.html.page import PAGE, write_report
from ocrslim.report.html.pictures import MOST_SAMPLES, shrunk
from ocrslim.report.html.records import (
    COSTS,
    PLANS,
    SAMPLES,
    Candidate,
    Costs,
    Item,
    LayerCost,
    NetworkCost,
    PlanCurve,
    PlannedLayer,
    PlanPoint,
    Plans,
    PlanStep,
    Sample,
    Samples,
    read_run_file,
)
from ocrslim.report.html.run_files import run_folder
from ocrslim.report.plots import DPI, SensitivityPicture, draw_sensitivities, sensitivity_figures
from ocrslim.report.plots.training import TrainingPicture, draw_training
from ocrslim.report.tables import comparison_table, decisions_table, groups_text, plan_table, sensitivity_table

__all__ = [
    "COSTS",
    "DPI",
    "MOST_SAMPLES",
    "PAGE",
    "PLANS",
    "SAMPLES",
    "Candidate",
    "Costs",
    "Item",
    "LayerCost",
    "NetworkCost",
    "PlanCurve",
    "PlanPoint",
    "PlanStep",
    "PlannedLayer",
    "Plans",
    "Sample",
    "Samples",
    "SensitivityPicture",
    "TrainingPicture",
    "bench_table",
    "comparison_table",
    "count_differences",
    "decisions_table",
    "draw_sensitivities",
    "draw_training",
    "groups_text",
    "plan_table",
    "read_run_file",
    "run_folder",
    "sensitivity_figures",
    "sensitivity_table",
    "shrunk",
    "write_report",
]
