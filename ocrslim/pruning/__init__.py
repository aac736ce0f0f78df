"""Pruning plans: scores of channels, surgery, refit, costs."""

from ocrslim.pruning.calibration import calibration_inputs
from ocrslim.pruning.channel_graph import program_channel_graph, require_training
from ocrslim.pruning.channel_pruner import ChannelPruner
from ocrslim.pruning.cost import MACS, Cost, CostOfCounts, ProductCost, measure_cost, product_cost, pruned_layers
from ocrslim.pruning.criteria import AUTO, DEFAULT, RECONSTRUCTION
from ocrslim.pruning.layer_patterns import check_patterns, match_groups, matches, pruned_members, require_patterns
from ocrslim.pruning.loading import (
    WEIGHTS,
    Network,
    choose_weights_key,
    load_base_network,
    load_network,
    refuse_pruned,
    untrained,
)
from ocrslim.pruning.loss_rules import loss_at, loss_of, ratio_by_loss
from ocrslim.pruning.plan import Cut, Plan, combine
from ocrslim.pruning.prunable import PrunableNetwork, for_table, load_prunable_network, model_graph
from ocrslim.pruning.refit.reconstruction import ERROR_WEIGHTS, ErrorWeights
from ocrslim.pruning.refit.refitting import refit_layers
from ocrslim.pruning.surgery.cutting import apply_plan, cut, cut_arrays, pruned

__all__ = [
    "AUTO",
    "DEFAULT",
    "ERROR_WEIGHTS",
    "MACS",
    "RECONSTRUCTION",
    "WEIGHTS",
    "ChannelPruner",
    "Cost",
    "CostOfCounts",
    "Cut",
    "ErrorWeights",
    "Network",
    "Plan",
    "ProductCost",
    "PrunableNetwork",
    "apply_plan",
    "calibration_inputs",
    "check_patterns",
    "choose_weights_key",
    "combine",
    "cut",
    "cut_arrays",
    "for_table",
    "load_base_network",
    "load_network",
    "load_prunable_network",
    "loss_at",
    "loss_of",
    "match_groups",
    "matches",
    "measure_cost",
    "model_graph",
    "product_cost",
    "program_channel_graph",
    "pruned",
    "pruned_layers",
    "pruned_members",
    "ratio_by_loss",
    "refit_layers",
    "refuse_pruned",
    "require_patterns",
    "require_training",
    "untrained",
]
