"""What is refused at the doors of diffusion: values out of range by name, shapes that do not match, and options that
mean nothing.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import (
    elbo,
    grids,
    guidance,
    learned_schedule,
    objectives,
    oracles,
    parameterization,
    process,
    samplers,
    schedules,
    weighting,
)
from gendiff.diffusion.types import Batch, Level, Prediction
from tests.diffusion.families import GRIDS, PARAMETERIZATIONS
from tests.tables import table

NAN, INF = float("nan"), float("inf")
GAUSSIAN, LEVEL, TABLE, FLOW, EDM = (
    oracles.gaussian(0.5),
    Level(1.0, 0.6, 0.8),
    schedules.linear(),
    schedules.flow(),
    schedules.edm(),
)
ZERO_TERMINAL = schedules.zero_terminal_snr(TABLE)
ROWS, INDEX, KEY, CHAIN = jnp.ones((2, 3)), jnp.arange(2), jax.random.key(0), grids.trailing(FLOW, 3)
BATCH, NARROW, PIXELS = Batch(ROWS), ROWS[:, :1], np.array([[0.0, 17.0, 255.0]], np.float32)


def discrete(levels=CHAIN, **options):
    return elbo.discrete(KEY, GAUSSIAN, ROWS, levels, INDEX, **options)


def objective(network=lambda params, x, t: x, batch=BATCH, **options):
    return objectives.denoising(network, TABLE, parameterization.velocity(), **options)((), jax.random.key(0), batch)


OUT_OF_RANGE = [
    (schedules.linear, {"steps": [0, -1], "start": [0.0, -0.1], "end": [1.0]}),
    (schedules.scaled_linear, {"steps": [0, -1], "start": [NAN], "end": [1.5]}),
    (schedules.cosine, {"steps": [0, -1], "max_beta": [1.5], "offset": [-1.0]}),
    (schedules.sigmoid, {"steps": [0, -1], "tau": [0.0], "start": [4.0], "end": [-4.0]}),
    (schedules.from_betas, {"betas": [[0.1, 0.0], [0.1, 1.0], [0.1, NAN], [], [[0.1, 0.2]]]}),
    (schedules.from_alpha_bar, {"alpha_bar": [[0.9, 0.95], [0.9, 0.9], [1.2, 0.9], [0.9, -0.1], [0.9, NAN]]}),
    (schedules.edm, {"sigma_max": [0.002, 0.001], "sigma_min": [0.0], "rho": [0.0]}),
    (partial(schedules.shifted, FLOW), {"shift": [0.0, -2.0, NAN]}),
    *[(schedule.at, {"u": [1.5, -0.1, NAN]}) for schedule in (FLOW, TABLE, learned_schedule.monotone())],
    (learned_schedule.monotone, {"log_snr": [(-5.0, 13.0), (NAN, 0.0)], "hidden": [0]}),
    *[(partial(grid, TABLE), {"n": [0, -3]}) for grid in GRIDS.values()],
    *[(partial(grid, TABLE), {"n": [1001]}) for grid in (grids.leading, grids.trailing, grids.linspace)],
    (partial(grids.leading, TABLE, 1000), {"offset": [1]}),
    (partial(grids.leading, TABLE, 10), {"offset": [100, -1]}),
    (partial(grids.karras, EDM, 5), {"sigma_min": [90.0], "rho": [0.0]}),
    (partial(grids.log_snr, EDM, 5), {"sigma_min": [-1.0]}),
    (partial(grids.padded, grids.trailing(TABLE, 5)), {"length": [4]}),
    (weighting.min_snr, {"gamma": [0.0, NAN]}),
    (weighting.p2, {"k": [0.0]}),
    (weighting.edm, {"data_std": [-1.0]}),
    (parameterization.edm, {"data_std": [0.0, -1.0, NAN]}),
    (weighting.sigmoid, {"bias": [INF]}),
    (weighting.log_normal_levels, {"std": [0.0]}),
    (weighting.logit_normal_levels, {"std": [-1.0]}),
    (objective, {"drop_condition": [-0.1, 1.5, NAN]}),
    (discrete, {"variance": ["tiny"], "draws": [0], "data_levels": [1]}),
    (partial(elbo.continuous, KEY, GAUSSIAN, ROWS, EDM, INDEX), {"span": [(0.0, 1.5), (0.9, 0.1)]}),
    (partial(guidance.interval, scale=1.0, low=0.1, high=1.0), {"scale": [-1.0], "low": [-0.1], "high": [NAN]}),
    (partial(guidance.adaptive_projected, GAUSSIAN, GAUSSIAN, 2.0), {"eta": [1.5, -0.1], "norm_threshold": [0.0]}),
    (partial(guidance.classifier_free, GAUSSIAN, GAUSSIAN, 2.0), {"rescale": [1.5]}),
    (partial(guidance.dynamic_threshold, GAUSSIAN), {"percentile": [-0.1, NAN], "bound": [0.0]}),
]
VALUES = [
    (function, name, value) for function, arguments in OUT_OF_RANGE for name in arguments for value in arguments[name]
]


@pytest.mark.fault(
    "schedules: steps ≤ 0", "schedules: β outside (0, 1)", "schedules: σ_min ≥ σ_max", "schedules: non-monotone table"
)
@pytest.mark.usefixtures("unchecked")
@table(("function", "argument", "value"), VALUES)
def test_a_value_out_of_range_is_refused_by_name(function, argument, value):
    with pytest.raises(ValueError, match=rf"\b{argument}\b"):
        function(**{argument: value})


WHOLE = jnp.ones((2, 3), int)
TWICE = Prediction(WHOLE, WHOLE)
FORMULAS = [
    partial(process.add_noise, WHOLE, ROWS, LEVEL),
    partial(process.forward_step, WHOLE, WHOLE, CHAIN[-1], CHAIN[-2]),
    partial(process.posterior, WHOLE, WHOLE, CHAIN[0], CHAIN[1]),
    partial(process.added_std, CHAIN[1], CHAIN[0], WHOLE),
    partial(process.score_from_noise, WHOLE, LEVEL),
    partial(process.noise_from_score, WHOLE, LEVEL),
    partial(process.velocity_from, WHOLE, WHOLE, LEVEL),
    partial(samplers.ancestral.ddim_step, TWICE, CHAIN[0], CHAIN[1]),
    partial(samplers.ancestral.ddpm_step, WHOLE, TWICE, CHAIN[0], CHAIN[1], noise=WHOLE),
    partial(guidance.combine, WHOLE, WHOLE, 1.5),
    *[partial(build().predict, WHOLE, WHOLE, LEVEL) for build in PARAMETERIZATIONS.values()],
]


@pytest.mark.fault("process: integers in a bare formula")
@pytest.mark.usefixtures("unchecked")
@table("formula", FORMULAS)
def test_whole_numbers_are_refused_by_a_bare_formula_which_would_round_its_coefficients_to_zero(formula):
    with pytest.raises(TypeError, match="floating.*got int32"):
        formula()


SHAPES = r"\(2, 3\).*\(2, 1\)|\(2, 1\).*\(2, 3\)"
OF_ONE_LEVEL = [process.add_noise, process.velocity_from, *(build().predict for build in PARAMETERIZATIONS.values())]
MISTAKES = [
    (ValueError, "table", lambda: schedules.zero_terminal_snr(FLOW)),
    (TypeError, "n must be an integer", lambda: grids.leading(TABLE, 2.5)),
    (TypeError, "n must be an integer", lambda: grids.trailing(TABLE, True)),
    (ValueError, "1001.*1000", lambda: grids.linspace(TABLE, 1001)),
    *[(ValueError, "picks entries of a table", partial(grid, FLOW, 5)) for grid in (grids.leading, grids.linspace)],
    *[
        (ValueError, rf"at least 2 entries, got shape {shape}", partial(function, levels, 0))
        for function in (grids.padded, grids.remaining)
        for levels, shape in ((LEVEL, r"\(\)"), (CHAIN[:0], r"\(0,\)"))
    ],
    (ValueError, "did you mean 'first'", lambda: grids.trailing(TABLE, 5, end="firts")),
    *[
        (ValueError, "karras or log_snr", partial(grid, FLOW, 5, end="first"))
        for grid in (grids.trailing, grids.cosine)
    ],
    *[(ValueError, "sigma_max", partial(grid, ZERO_TERMINAL, 5)) for grid in (grids.karras, grids.log_snr)],
    *[(ValueError, "sigma_min", partial(grid, FLOW, 5)) for grid in (grids.karras, grids.log_snr)],
    *[(ValueError, SHAPES, partial(function, ROWS, NARROW, LEVEL)) for function in OF_ONE_LEVEL],
    *[
        (ValueError, SHAPES, partial(function, ROWS, NARROW, LEVEL, LEVEL))
        for function in (process.forward_step, process.posterior)
    ],
    (ValueError, r"\(2, 3\).*\(3,\)", lambda: process.add_noise(ROWS, ROWS[0], LEVEL)),
    (ValueError, r"\(2,\).*\(3,\)", lambda: process.add_noise(ROWS, ROWS, Level(1.0, np.ones(3), np.ones(3)))),
    (ValueError, r"\(2, 1\)", lambda: process.add_noise(ROWS, ROWS, Level(1.0, np.ones((2, 1)), 0.5))),
    *[
        (TypeError, kind, partial(process.add_noise, np.zeros((2, 3), kind), ROWS, LEVEL))
        for kind in ("uint8", "int32")
    ],
    (ValueError, r"255.*\[-1, 1\]", lambda: process.add_noise(PIXELS, np.zeros((1, 3)), LEVEL)),
    (TypeError, "uint8", lambda: objective(batch=Batch(np.zeros((2, 4, 4, 1), np.uint8)))),
    (ValueError, "255", lambda: objective(batch=Batch(PIXELS))),
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
    (
        ValueError,
        r"weights\[1\] = inf is outside",
        lambda: guidance.composed(GAUSSIAN, [GAUSSIAN, GAUSSIAN], [1.0, INF]),
    ),
    (
        ValueError,
        r"outside \[0, 1\]: it is a share, 0.995 for 99.5 %",
        lambda: guidance.dynamic_threshold(GAUSSIAN, 99.5),
    ),
    (ValueError, "single numbers", lambda: guidance.dynamic_threshold(GAUSSIAN, bound=np.ones(4))),
    (
        TypeError,
        r"shape \(\) .* one number per sample",
        lambda: guidance.classifier(GAUSSIAN, lambda x, _: x.sum(), 1.0)(ROWS, LEVEL),
    ),
]


@pytest.mark.fault(
    "schedules: zero terminal SNR with noise prediction",
    "process: shapes differ",
    "process: Level fields neither () nor (batch,)",
    "process: uint8 or 0…255 images",
    "samplers: more steps than the table",
)
@pytest.mark.usefixtures("unchecked")
@table(("error", "message", "mistake"), MISTAKES)
def test_a_mistake_is_refused_with_what_would_be_right(error, message, mistake):
    with pytest.raises(error, match=message):
        mistake()
