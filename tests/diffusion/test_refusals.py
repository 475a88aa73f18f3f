"""What is refused at the doors of diffusion: values out of range by name, shapes that do not match, and options that mean nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import elbo, grids, guidance, learned_schedule, objectives, oracles, parameterization, process, schedules, weighting
from gendiff.diffusion.types import Batch, Level
from tests.diffusion.families import PARAMETERIZATIONS

NAN, INF = float("nan"), float("inf")
GAUSSIAN, LEVEL, TABLE, FLOW, EDM = oracles.gaussian(0.5), Level(1.0, 0.6, 0.8), schedules.linear(), schedules.flow(), schedules.edm()
ZERO_TERMINAL = schedules.zero_terminal_snr(TABLE)
ROWS, INDEX, KEY, CHAIN = jnp.ones((2, 3)), jnp.arange(2), jax.random.key(0), grids.trailing(FLOW, 3)
BATCH = Batch(ROWS)
SCALED = np.array([[0.0, 17.0, 255.0]])


def discrete(levels=CHAIN, **options):
    return elbo.discrete(KEY, GAUSSIAN, ROWS, levels, INDEX, **options)


def objective(network=lambda params, x, t: x, batch=BATCH, **options):
    return objectives.denoising(network, TABLE, parameterization.velocity(), **options)((), jax.random.key(0), batch)


OUT_OF_RANGE = [
    (schedules.linear, "steps", [0, -1]),
    (schedules.scaled_linear, "steps", [0, -1]),
    (schedules.cosine, "steps", [0, -1]),
    (schedules.sigmoid, "steps", [0, -1]),
    (partial(schedules.linear, 10), "start", [0.0, -0.1]),
    (partial(schedules.linear, 10), "end", [1.0]),
    (partial(schedules.scaled_linear, 10), "start", [NAN]),
    (partial(schedules.scaled_linear, 10), "end", [1.5]),
    (partial(schedules.cosine, 10), "max_beta", [1.5]),
    (partial(schedules.cosine, 10), "offset", [-1.0]),
    (partial(schedules.sigmoid, 10), "tau", [0.0]),
    (partial(schedules.sigmoid, 10, end=-3.0), "start", [3.0]),
    (schedules.from_betas, "betas", [[0.1, 0.0], [0.1, 1.0], [0.1, NAN], [], [[0.1, 0.2]]]),
    (schedules.from_alpha_bar, "alpha_bar", [[0.9, 0.95], [0.9, 0.9], [1.2, 0.9], [0.9, -0.1], [0.9, NAN]]),
    (partial(schedules.edm, sigma_min=80.0), "sigma_max", [80.0, 70.0]),
    (schedules.edm, "sigma_min", [0.0]),
    (schedules.edm, "rho", [0.0]),
    (partial(schedules.shifted, FLOW), "shift", [0.0, -2.0, NAN]),
    (FLOW.at, "u", [1.5]),
    (TABLE.at, "u", [-0.1, NAN]),
    (learned_schedule.monotone, "log_snr", [(-5.0, 13.0), (NAN, 0.0)]),
    (learned_schedule.monotone, "hidden", [0]),
    (learned_schedule.monotone().at, "u", [1.5]),
    *[
        (partial(grid, TABLE), "n", [0, -3])
        for grid in (grids.leading, grids.trailing, grids.linspace, grids.karras, grids.log_snr, grids.cosine)
    ],
    *[(partial(grid, TABLE), "n", [1001]) for grid in (grids.leading, grids.trailing, grids.linspace)],
    (partial(grids.leading, TABLE, 1000), "offset", [1]),
    (partial(grids.leading, TABLE, 10), "offset", [100, -1]),
    (partial(grids.karras, EDM, 5), "sigma_min", [90.0]),
    (partial(grids.karras, EDM, 5), "rho", [0.0]),
    (partial(grids.log_snr, EDM, 5), "sigma_min", [-1.0]),
    (partial(grids.padded, grids.trailing(TABLE, 5)), "length", [4]),
    (weighting.min_snr, "gamma", [0.0, NAN]),
    (weighting.p2, "k", [0.0]),
    (weighting.edm, "data_std", [-1.0]),
    (parameterization.edm, "data_std", [0.0, -1.0, NAN]),
    (weighting.sigmoid, "bias", [INF]),
    (weighting.log_normal_levels, "std", [0.0]),
    (weighting.logit_normal_levels, "std", [-1.0]),
    (objective, "drop_condition", [-0.1, 1.5, NAN]),
    (discrete, "variance", ["tiny"]),
    (discrete, "draws", [0]),
    (discrete, "data_levels", [1]),
    (partial(elbo.continuous, KEY, GAUSSIAN, ROWS, EDM, INDEX), "span", [(0.0, 1.5)]),
    (partial(guidance.interval, low=0.1, high=1.0), "scale", [-1.0]),
    (partial(guidance.interval, 1.0, high=1.0), "low", [-0.1]),
    (partial(guidance.interval, 1.0, 0.1), "high", [NAN]),
    (partial(guidance.adaptive_projected, GAUSSIAN, GAUSSIAN, 2.0), "eta", [1.5, -0.1]),
    (partial(guidance.adaptive_projected, GAUSSIAN, GAUSSIAN, 2.0), "norm_threshold", [0.0]),
    (partial(guidance.classifier_free, GAUSSIAN, GAUSSIAN, 2.0), "rescale", [1.5]),
    (partial(guidance.dynamic_threshold, GAUSSIAN), "percentile", [-0.1, NAN]),
    (partial(guidance.dynamic_threshold, GAUSSIAN), "bound", [0.0]),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("function", "argument", "values"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_by_name(function, argument, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"\b{argument}\b"):
            function(**{argument: value})


SHAPES = r"\(2, 3\).*\(2, 1\)|\(2, 1\).*\(2, 3\)"
NARROW = ROWS[:, :1]
MISTAKES = [
    (ValueError, "table", lambda: schedules.zero_terminal_snr(FLOW)),
    (ValueError, "table", lambda: schedules.zero_terminal_snr(EDM)),
    (TypeError, "n must be an integer", lambda: grids.leading(TABLE, 2.5)),
    (TypeError, "n must be an integer", lambda: grids.trailing(TABLE, True)),
    (ValueError, "1001.*1000", lambda: grids.linspace(TABLE, 1001)),
    (ValueError, "picks entries of a table", lambda: grids.leading(FLOW, 5)),
    (ValueError, "picks entries of a table", lambda: grids.linspace(EDM, 5)),
    (ValueError, "did you mean 'first'", lambda: grids.trailing(TABLE, 5, end="firts")),
    (ValueError, "karras or log_snr", lambda: grids.trailing(FLOW, 5, end="first")),
    (ValueError, "karras or log_snr", lambda: grids.cosine(EDM, 5, end="first")),
    (ValueError, "sigma_max", lambda: grids.karras(ZERO_TERMINAL, 5)),
    (ValueError, "sigma_max", lambda: grids.log_snr(ZERO_TERMINAL, 5)),
    (ValueError, "sigma_min", lambda: grids.karras(FLOW, 5)),
    (ValueError, "sigma_min", lambda: grids.log_snr(FLOW, 5)),
    (ValueError, r"\(2, 3\).*\(2, 1\)", lambda: process.add_noise(ROWS, NARROW, LEVEL)),
    (ValueError, r"\(2, 3\).*\(3,\)", lambda: process.add_noise(ROWS, ROWS[0], LEVEL)),
    (ValueError, r"\(2, 3\).*\(2, 1\)", lambda: process.forward_step(ROWS, NARROW, LEVEL, LEVEL)),
    (ValueError, r"\(2, 3\).*\(2, 1\)", lambda: process.posterior(ROWS, NARROW, LEVEL, LEVEL)),
    (ValueError, r"\(2, 3\).*\(2, 1\)", lambda: process.velocity_from(ROWS, NARROW, LEVEL)),
    (ValueError, r"\(2,\).*\(3,\)", lambda: process.add_noise(ROWS, ROWS, Level(1.0, np.ones(3), np.ones(3)))),
    (ValueError, r"\(2, 1\)", lambda: process.add_noise(ROWS, ROWS, Level(1.0, np.ones((2, 1)), 0.5))),
    (TypeError, "uint8", lambda: process.add_noise(np.zeros((2, 3), np.uint8), ROWS, LEVEL)),
    (TypeError, "int32", lambda: process.add_noise(np.zeros((2, 3), np.int32), ROWS, LEVEL)),
    (ValueError, r"255.*\[-1, 1\]", lambda: process.add_noise(SCALED, np.zeros((1, 3)), LEVEL)),
    *[(ValueError, SHAPES, partial(build().predict, ROWS, NARROW, LEVEL)) for build in PARAMETERIZATIONS.values()],
    (TypeError, "uint8", lambda: objective(batch=Batch(np.zeros((2, 4, 4, 1), np.uint8)))),
    (ValueError, "255", lambda: objective(batch=Batch(SCALED.astype(np.float32)))),
    (TypeError, r"batch is a ndarray: pass diffusion.Batch\(clean=images", lambda: objective(batch=np.zeros((2, 4)))),
    ((TypeError, ValueError), r"\(2, 1\)", lambda: objective(lambda params, x, t: x[:, :1])),
    (ValueError, "(?i)velocity", lambda: objectives.denoising(None, ZERO_TERMINAL, parameterization.noise())),
    (ValueError, "(?i)velocity", lambda: objectives.denoising(None, FLOW, parameterization.noise())),
    (ValueError, "learned_variance", lambda: discrete(variance="learned")),
    (ValueError, 'end="clean"', lambda: discrete(CHAIN[:2])),
    (ValueError, r"span=\(1e-3, 1.0\)", lambda: elbo.continuous(KEY, GAUSSIAN, ROWS, FLOW, INDEX)),
    (ValueError, SHAPES, lambda: guidance.combine(ROWS, NARROW, 2.0)),
    (ValueError, r"\(2,\).*\(3,\)", lambda: guidance.combine(ROWS, ROWS, jnp.ones(3))),
    (ValueError, "2 conditions and 1 weights", lambda: guidance.composed(GAUSSIAN, [GAUSSIAN, GAUSSIAN], [1.0])),
    (ValueError, "0 conditions", lambda: guidance.composed(GAUSSIAN, [], [])),
    (ValueError, r"weights\[1\] = inf is outside", lambda: guidance.composed(GAUSSIAN, [GAUSSIAN, GAUSSIAN], [1.0, INF])),
    (ValueError, r"outside \[0, 1\]: it is a share, 0.995 for 99.5 %", lambda: guidance.dynamic_threshold(GAUSSIAN, 99.5)),
    (ValueError, "single numbers", lambda: guidance.dynamic_threshold(GAUSSIAN, bound=np.ones(4))),
    (
        TypeError,
        r"answered shape \(\) .* one number per sample",
        lambda: guidance.classifier(GAUSSIAN, lambda x, level: jnp.sum(x), 1.0)(ROWS, LEVEL),
    ),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("error", "message", "mistake"), MISTAKES)
def test_a_mistake_is_refused_with_what_would_be_right(error, message, mistake):
    with pytest.raises(error, match=message):
        mistake()
