"""By default a configuration is the published formula on grids of this library, and converges at the order of its
method.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import grids, oracles, parameterization, samplers, schedules
from gendiff.diffusion.distillation import consistency
from gendiff.diffusion.types import Level, Prediction
from gendiff.pipelines.diffusers_schedulers import from_config
from tests.pipelines.diffusers_schedulers import cases
from tests.pipelines.diffusers_schedulers.cases import KARRAS, TO_MIN, scheduler_config
from tests.pipelines.diffusers_schedulers.walks import walk
from tests.tables import table

SD, FLOW = schedules.scaled_linear(), schedules.flow()
SHIFTED = schedules.shifted(FLOW, 3.0)
ZERO_SNR = schedules.zero_terminal_snr(SD)
SECOND = samplers.dpm_solver_multistep(lower_order_final=True)
NOISE, VELOCITY, STRAIGHT = parameterization.noise(), parameterization.velocity(), parameterization.flow()


def inner(levels):
    """Without the last start, as the solvers have it."""
    return levels[np.r_[0 : len(levels) - 2, len(levels) - 1]]


MEANINGS = {
    "SD 1.5": (cases.SD_1_5, SD, NOISE, samplers.pndm(), lambda: grids.leading(SD, 20, offset=1, end="first")),
    "SD 2.1": (cases.SD_2_1, SD, VELOCITY, samplers.ddim(), lambda: grids.leading(SD, 20, offset=1, end="first")),
    "SDXL": (cases.SDXL, SD, NOISE, samplers.euler(), lambda: grids.leading(SD, 20, offset=1)),
    "SDXL Turbo": (cases.SDXL_TURBO, SD, NOISE, samplers.euler_ancestral(), lambda: grids.trailing(SD, 20)),
    "SD 3": (cases.SD_3, SHIFTED, STRAIGHT, samplers.euler(), lambda: grids.trailing(SHIFTED, 20)),
    "FLUX schnell": (cases.FLUX_SCHNELL, FLOW, STRAIGHT, samplers.euler(), lambda: grids.trailing(FLOW, 20)),
    "Runge-Kutta start": (
        cases.SD_1_5 | {"skip_prk_steps": False},
        SD,
        NOISE,
        samplers.pndm(SD),
        lambda: grids.leading(SD, 20, offset=1, end="first"),
    ),
    "DDPM": (scheduler_config("DDPM"), SD, NOISE, samplers.ddpm(), lambda: grids.leading(SD, 20)),
    "DDPM large": (
        scheduler_config("DDPM", variance_type="fixed_large"),
        SD,
        NOISE,
        samplers.ddpm("large"),
        lambda: grids.leading(SD, 20),
    ),
    "zero SNR": (
        scheduler_config("EulerDiscrete", cases.ZERO),
        ZERO_SNR,
        VELOCITY,
        samplers.euler(),
        lambda: grids.trailing(ZERO_SNR, 20),
    ),
    "Heun": (scheduler_config("HeunDiscrete"), SD, NOISE, samplers.heun(), lambda: grids.linspace(SD, 20)),
    "Karras": (
        scheduler_config("EulerDiscrete", KARRAS, sigma_max=9.0),
        SD,
        NOISE,
        samplers.euler(),
        lambda: grids.karras(SD, 20, sigma_max=9.0),
    ),
    "2M": (scheduler_config("DPMSolverMultistep"), SD, NOISE, SECOND, lambda: inner(grids.linspace(SD, 21))),
    "2M leading": (
        scheduler_config("DPMSolverMultistep", timestep_spacing="leading", steps_offset=1, lower_order_final=False),
        SD,
        NOISE,
        samplers.dpm_solver_multistep(),
        lambda: inner(grids.leading(SD, 21, offset=1)),
    ),
    "3M": (
        scheduler_config("DPMSolverMultistep", KARRAS, TO_MIN, solver_order=3),
        SD,
        NOISE,
        samplers.dpm_solver_multistep(3, lower_order_final=True),
        lambda: grids.karras(SD, 20, end="first"),
    ),
    "SDE 2M": (
        scheduler_config(
            "DPMSolverMultistep", algorithm_type="sde-dpmsolver++", solver_type="heun", timestep_spacing="trailing"
        ),
        SD,
        NOISE,
        samplers.dpm_solver_multistep(2, eta=1.0, formula="exact", lower_order_final=True),
        lambda: grids.trailing(SD, 20),
    ),
    "noise form": (
        scheduler_config("DPMSolverMultistep", TO_MIN, algorithm_type="dpmsolver", solver_order=3, use_lu_lambdas=True),
        SD,
        NOISE,
        samplers.deis(3, lower_order_final=True),
        lambda: grids.log_snr(SD, 20, end="first"),
    ),
    "2S": (
        scheduler_config("DPMSolverSinglestep"),
        SD,
        NOISE,
        samplers.dpm_solver_single(SD, 2),
        lambda: inner(grids.linspace(SD, 11)),
    ),
    "UniPC": (
        scheduler_config("UniPCMultistep", cases.STRAIGHT, solver_type="bh1"),
        SHIFTED,
        STRAIGHT,
        samplers.unipc(2, variant="bh1", lower_order_final=True),
        lambda: grids.trailing(SHIFTED, 20),
    ),
}


def same(levels, expected):
    for ours, theirs in zip(jax.tree.leaves(levels), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@table("name", MEANINGS)
def test_a_configuration_is_what_a_user_of_this_library_writes_for_it(name):
    config, schedule, parameterization, sampler, levels = MEANINGS[name]
    scheduler = from_config(config)
    assert (scheduler.schedule, scheduler.parameterization, scheduler.sampler(20)) == (
        schedule,
        parameterization,
        sampler,
    )
    assert scheduler.sampler(5) == sampler  # one program for every number of steps
    same(scheduler.grid(20), levels())


def test_consistency_models_visit_levels_on_which_they_were_distilled():
    scheduler = from_config(cases.LCM)
    levels = scheduler.grid(4)
    assert scheduler.sampler(4) == consistency(10.0)
    np.testing.assert_array_equal(levels.t, [999, 759, 499, 259, -1])  # 20 k - 1
    np.testing.assert_allclose(
        levels.alpha[:-1] ** 2,
        np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[[999, 759, 499, 259]],
        rtol=1e-5,
    )


def test_flow_is_shifted_by_the_number_of_tokens_stretched_and_spread():
    flux = from_config(cases.FLUX_DEV)
    same(flux.grid(5, tokens=4096), grids.trailing(schedules.shifted(FLOW, math.exp(1.15)), 5))
    same(flux.grid(5, tokens=256), grids.trailing(schedules.shifted(FLOW, math.exp(0.5)), 5))
    linear = from_config(cases.FLUX_DEV | {"time_shift_type": "linear"})
    same(linear.grid(5, tokens=2176), grids.trailing(schedules.shifted(FLOW, 0.825), 5))  # half-way from 0.5 to 1.15
    same(flux.grid(2, tokens=256, sigmas=[0.9, 0.5]), flux.grid(2, tokens=256, sigmas=np.array([0.9, 0.5])))
    even, ended = (from_config(cases.SD_3 | {"shift_terminal": last}).grid(4) for last in (None, 0.1))
    np.testing.assert_allclose(
        (1 - ended.sigma[:-1]) / np.maximum(1 - even.sigma[:-1], 1e-9),
        [0, *[0.9 / (1 - float(even.sigma[3]))] * 3],
        rtol=1e-5,
    )
    assert float(ended.sigma[3]) == pytest.approx(0.1)
    same(from_config(cases.SD_3 | {"shift_terminal": 0.1}).grid(1), grids.trailing(FLOW, 1))
    spread = from_config(cases.SD_3 | {"use_exponential_sigmas": True}).grid(4).sigma
    np.testing.assert_allclose(spread[1:4] / spread[:3], [(float(even.sigma[3])) ** (1 / 3)] * 3, rtol=1e-5)


def test_quantiles_of_beta_spread_sigma_over_alpha_from_end_to_end():
    levels = from_config(scheduler_config("EulerDiscrete", use_beta_sigmas=True, sigma_min=0.1, sigma_max=8.1)).grid(5)
    ratio = np.asarray(levels.sigma / levels.alpha)
    np.testing.assert_allclose(ratio[[0, 2, 4, 5]], [8.1, 4.1, 0.1, 0], atol=1e-4)  # the distribution is symmetric
    np.testing.assert_allclose(ratio[1] + ratio[3], 8.2, rtol=1e-4)
    assert ratio[1] > 6.1 + 0.3  # and has more weight at its ends than an even one
    ended = from_config(scheduler_config("DPMSolverMultistep", TO_MIN, use_beta_sigmas=True)).grid(5)
    np.testing.assert_allclose(ended.alpha[-1] ** 2, 1 - 0.00085, rtol=1e-6)


ORDERS = {
    "DDIM": (scheduler_config("DDIM", clip_sample=False, timestep_spacing="linspace", set_alpha_to_one=False), 1),
    "Heun": (scheduler_config("HeunDiscrete", KARRAS), 2),
    "2M": (scheduler_config("DPMSolverMultistep", KARRAS, TO_MIN), 2),
    "UniPC": (scheduler_config("UniPCMultistep", KARRAS, TO_MIN, lower_order_final=False), 3),
}


@pytest.mark.float64
@pytest.mark.parametrize("name", [*list(ORDERS)[:-1], pytest.param("UniPC", marks=pytest.mark.slow)])
def test_a_draw_converges_to_the_exact_flow_of_gaussian_data_at_the_order_of_its_method(name):
    config, order = ORDERS[name]
    scheduler, gaussian, x, errors = (
        from_config(config),
        oracles.gaussian(std=0.5),
        jnp.linspace(-2.0, 2.0, 24).reshape(2, 3, 4),
        [],
    )
    for steps in (64, 128):
        levels = scheduler.grid(steps)
        levels = levels if levels.sigma[-1] > 0 else levels[:-1]
        start = x * gaussian.marginal_std(levels[0])
        exact = gaussian.flow(start, levels[0], levels[-1])
        errors.append(np.abs(walk(scheduler.sampler(steps), gaussian, levels, start) - exact).max())
    assert math.log2(errors[0] / errors[1]) > order - 0.3
    assert errors[1] < 0.05


def test_clean_predictions_are_clipped_or_thresholded_as_the_configuration_says():
    clean = np.array([[0.1, -0.5, 1.2, 3.0], [0.2, 0.3, -0.4, 0.9]], np.float32)
    x, level = np.ones_like(clean), Level(1.0, 0.6, 0.8)

    def denoise(x, level):
        return Prediction(jnp.asarray(clean), (x - level.alpha * clean) / level.sigma)

    def limited(like_diffusers=False, **fields):
        config = {"_class_name": "DDIMScheduler"} | fields
        return from_config(config, like_diffusers=like_diffusers).limited(denoise)(jnp.asarray(x), level)

    np.testing.assert_allclose(limited(clip_sample_range=0.4).clean, np.clip(clean, -0.4, 0.4))
    size = np.quantile(np.abs(clean), 0.7, axis=1)  # below 1 in the second row
    bound = np.clip(size, 1.0, 1.3)[:, None]
    threshold = {"thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": 1.3}
    prediction = limited(**threshold)
    np.testing.assert_allclose(prediction.clean, np.clip(clean, -bound, bound) / bound, rtol=1e-5)
    np.testing.assert_allclose(0.6 * prediction.clean + 0.8 * prediction.noise, x, rtol=1e-5)
    result = limited(like_diffusers=True, **threshold)
    np.testing.assert_array_equal(result.clean, prediction.clean)
    np.testing.assert_allclose(result.noise, denoise(x, level).noise, rtol=1e-6)
    assert from_config(scheduler_config("DDIM", clip_sample=False)).limited(denoise) is denoise
