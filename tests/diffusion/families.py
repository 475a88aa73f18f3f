"""Every schedule, parameterization, weight, level sampler and grid by name. Tests run over a family; a new member is
one entry.
"""

import functools

import numpy as np

from gendiff.diffusion import grids, parameterization, schedules, weighting
from tests.tables import table


def _named(*functions):
    return {function.__name__: function for function in functions}


def for_each(name, family):
    """The test runs over the family: it is a table."""
    return table(name, family.values())


TABLES = _named(schedules.linear, schedules.scaled_linear, schedules.cosine, schedules.sigmoid) | {
    "from_betas": lambda steps=40: schedules.from_betas(np.geomspace(1e-3, 0.3, steps)),
    "from_alpha_bar": lambda steps=40: schedules.from_alpha_bar(np.linspace(0.99, 0.01, steps)),
    "zero_terminal_snr": lambda *steps: schedules.zero_terminal_snr(schedules.scaled_linear(*steps)),
    "shifted cosine": lambda *steps: schedules.shifted(schedules.cosine(*steps), 2.0),
}
CONTINUOUS = {"edm": schedules.edm, "flow": schedules.flow, "shifted": lambda: schedules.shifted(schedules.flow(), 3.0)}
SCHEDULES = TABLES | CONTINUOUS
PARAMETERIZATIONS = _named(
    parameterization.noise,
    parameterization.clean,
    parameterization.velocity,
    parameterization.flow,
    parameterization.edm,
)
WEIGHTS = _named(
    weighting.uniform, weighting.min_snr, weighting.truncated_snr, weighting.p2, weighting.edm, weighting.sigmoid
)
LEVELS = _named(
    weighting.uniform_levels, weighting.stratified_levels, weighting.log_normal_levels, weighting.logit_normal_levels
)
GRIDS = _named(grids.leading, grids.trailing, grids.linspace, grids.karras, grids.log_snr, grids.cosine) | {
    "resolved": functools.partial(grids.resolved, resolution=0.01, norm=5.0)
}
