"""Positions are drawn by their law, which for a normal log-ratio gives each interval the difference of the distribution
function.
"""

import jax
import numpy as np
from scipy.stats import norm

from gendiff.diffusion import schedules
from gendiff.diffusion.distillation import positions
from tests.diffusion.families import for_each
from tests.quickly import in_numpy
from tests.refusals import refusals

COUNT = 20_000


def _uniform_and_logit(key, other):
    return positions.uniform()(key, COUNT), jax.scipy.special.logit(positions.logit_normal(-0.4, 0.7)(other, COUNT))


def test_uniform_and_logit_normal_positions_have_their_moments():
    u, logit = in_numpy(_uniform_and_logit)(jax.random.key(0), jax.random.key(1))
    assert 0 <= u.min() and u.max() < 1 and abs(u.mean() - 0.5) < 0.01 and abs(u.std() - 12**-0.5) < 0.01
    assert abs(logit.mean() + 0.4) < 0.02 and abs(logit.std() - 0.7) < 0.02


@for_each("schedule", {"flow": schedules.flow(), "table": schedules.scaled_linear(1000)})
def test_an_interval_is_drawn_as_often_as_the_normal_law_says(schedule):
    intervals, mean, std = 8, -1.1, 2.0
    u = in_numpy(positions.log_normal(schedule, mean, std), static_argnums=1)(jax.random.key(0), COUNT)
    edges = np.array([-schedule.at(np.float64(n / intervals)).log_snr / 2 for n in range(intervals + 1)])
    share = np.diff(norm.cdf((edges - mean) / std)) / np.diff(norm.cdf((edges[[0, -1]] - mean) / std))
    counts = np.histogram(u, np.arange(intervals + 1) / intervals)[0] / COUNT
    assert np.abs(counts - share).max() < 4 * np.sqrt(0.25 / COUNT)
    assert share.max() > 2 * share.min() + 0.05  # a law that differs from the uniform one


def test_equal_settings_are_equal_and_others_are_not():
    for build, other in (
        (positions.uniform, positions.logit_normal),
        (lambda: positions.logit_normal(0.0, 1.0), lambda: positions.logit_normal(0.0, 2.0)),
        (lambda: positions.log_normal(schedules.edm()), lambda: positions.log_normal(schedules.flow())),
    ):
        assert build() == build() != other() and hash(build()) == hash(build())


test_numbers_out_of_range_are_refused = refusals(
    (lambda: positions.logit_normal(std=0.0), "std = 0"),
    (lambda: positions.log_normal(schedules.edm(), mean=np.nan), "mean is not finite"),
)
