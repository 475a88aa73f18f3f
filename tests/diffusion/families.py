"""Every schedule, parameterization, weight, level sampler and grid by name. The tests of a family run over it; a new member is one line."""

import numpy as np
import pytest

from gendiff.diffusion import grids, parameterization, schedules, weighting

TABLES = {
    "linear": schedules.linear,
    "scaled_linear": schedules.scaled_linear,
    "cosine": schedules.cosine,
    "sigmoid": schedules.sigmoid,
    "from_betas": lambda steps=40: schedules.from_betas(np.geomspace(1e-3, 0.3, steps)),
    "from_alpha_bar": lambda steps=40: schedules.from_alpha_bar(np.linspace(0.99, 0.01, steps)),
    "zero_terminal_snr": lambda *steps: schedules.zero_terminal_snr(schedules.scaled_linear(*steps)),
    "shifted cosine": lambda *steps: schedules.shifted(schedules.cosine(*steps), 2.0),
}
CONTINUOUS = {"edm": schedules.edm, "flow": schedules.flow, "shifted": lambda: schedules.shifted(schedules.flow(), 3.0)}
SCHEDULES = TABLES | CONTINUOUS
PARAMETERIZATIONS = {
    "noise": parameterization.noise,
    "clean": parameterization.clean,
    "velocity": parameterization.velocity,
    "flow": parameterization.flow,
    "edm": parameterization.edm,
}
WEIGHTS = {
    "uniform": weighting.uniform,
    "min_snr": weighting.min_snr,
    "p2": weighting.p2,
    "edm": weighting.edm,
    "sigmoid": weighting.sigmoid,
}
LEVELS = {
    "uniform_levels": weighting.uniform_levels,
    "stratified_levels": weighting.stratified_levels,
    "log_normal_levels": weighting.log_normal_levels,
    "logit_normal_levels": weighting.logit_normal_levels,
}
GRIDS = {
    "leading": grids.leading,
    "trailing": grids.trailing,
    "linspace": grids.linspace,
    "karras": grids.karras,
    "log_snr": grids.log_snr,
    "cosine": grids.cosine,
}


def every(name, family):
    """The test runs once per member of the family."""
    return pytest.mark.parametrize(name, family.values(), ids=family.keys())
