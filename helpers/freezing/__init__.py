"""Freeze what is kept: parameters, BatchNorm statistics, dropout, and what the optimizer holds."""

from ..errors import FreezingError
from .batches import CachedFeatures
from .caching import cache_features, load_features
from .costs import LayerCost, measured_step, step_costs
from .freezing import freeze, gradual_unfreeze, trainable_parameters, unfreeze
from .groups import parameter_groups
from .reports import FreezeReport, OptimizerCheck, check_optimizer, freeze_report

__all__ = [
    "CachedFeatures",
    "FreezeReport",
    "FreezingError",
    "LayerCost",
    "OptimizerCheck",
    "cache_features",
    "check_optimizer",
    "freeze",
    "freeze_report",
    "gradual_unfreeze",
    "load_features",
    "measured_step",
    "parameter_groups",
    "step_costs",
    "trainable_parameters",
    "unfreeze",
]
