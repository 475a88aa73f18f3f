"""The options of diffusers' schedulers that end elsewhere than a sampler of gendiff: by how much, and why; and what has no counterpart."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gendiff.core import records
from gendiff.diffusion import samplers
from gendiff.diffusion.samplers import exponential_integrators
from gendiff.diffusion.samplers.deis import VARIABLES
from gendiff.diffusion.samplers.dpm_solver_multistep import Coefficients, Multistep
from gendiff.diffusion.sampling import Sampler
from tests.peers.diffusers_agreements import no_noise
from tests.peers.diffusers_case import EVEN, FURTHER, NOISE_FORM, PAIRS, SDE, TO_CLEAN, TO_FIRST, TRIPLES, Difference, case


def previous_timestep(scheduler: Any, call: int) -> dict[str, Any]:
    """What UnCLIP's pipeline hands to `step`."""
    following = scheduler.timesteps[call + 1 :]
    return {"prev_timestep": int(following[0]) if len(following) else None}


def sign_slipped(step: jax.Array, rate: Any, others: jax.Array, count: int) -> list[jax.Array]:
    """`exponential.halved` with M_2 / h² smaller by 1: -1/2 where its formula has 1/2."""
    found = exponential_integrators.halved(step, rate, others, count)
    return [jnp.where(others == 2, moment - step**2, moment) if k == 2 else moment for k, moment in enumerate(found, 1)]


def stepper(
    rule: exponential_integrators.Rule, order: int, method: Coefficients | None = None, eta: float | None = None
) -> Callable[[], Sampler]:
    """A multistep sampler whose moments follow another rule, started plainly and lowered at the end."""
    base = Coefficients() if method is None else method
    return Multistep(records.replace(base, rule=rule), order, "never", True, eta).sampler


NOISE = VARIABLES["log_ratio"]
EARLIER = "the previous timestep is t - T//n, not the next one of the grid"
SECOND = "dpm_solver_multistep(2, lower_order_final=True)"

OF_GRIDS = [
    Difference(case("DDIM", "ddim()", "trailing(SD, 7)", 7, timestep_spacing="trailing"), 0.0515, EARLIER),
    Difference(case("DDIM", "ddim()", "linspace(SD, 10)", timestep_spacing="linspace"), 0.18, EARLIER),
    Difference(case("PNDM", "pndm()", "linspace(SD, 10, end='first')", skip_prk_steps=True, timestep_spacing="linspace"), 0.152, EARLIER),
    Difference(
        case("EulerDiscrete", "euler()", "linspace(SD, 20)", 20),
        4.6e-4,
        "t is not rounded, and sigma/alpha runs straight between two entries",
    ),
    Difference(
        case("DPMSolverSinglestep", "dpm_solver_single(SD, 2)", f"some(own, {PAIRS})", 11, lower_order_final=True),
        8.7e-3,
        "the stage lies at the timestep in the middle, gendiff's in the middle of log-SNR",
    ),
    Difference(
        case("FlowMatchEulerDiscrete", "euler()", "trailing(FLOW, 10)", kinds=(None,)),
        0.033,
        "sigma runs evenly from 1 to 1/1000, and then to 0",
    ),
    Difference(
        case(
            "DPMSolverMultistep",
            SECOND,
            "trailing(ZERO_SNR, 10)",
            timestep_spacing="trailing",
            rescale_betas_zero_snr=True,
            kinds=("v_prediction",),
        ),
        4.9e-4,
        "zero terminal SNR is alpha² = 2^-24 in schedulers that work with sigma/alpha",
    ),
]

OF_LAST_STEPS = [
    Difference(
        case("DDPM", "ddpm('large')", "trailing(SD, 10)", variance_type="fixed_large", timestep_spacing="trailing"),
        0.836,
        "the last step adds noise of standard deviation sigma unless its t is 0",
    ),
    Difference(
        case("DDPMWuerstchen", "ddpm()", kinds=(None,), calls=10),
        0.0258,
        "alpha² is held below 0.9999 and yet the last step adds no noise; gendiff adds the posterior's",
    ),
    Difference(
        case("PNDM", "pndm()", "leading(SD, 10, offset=1)", skip_prk_steps=True, steps_offset=1, set_alpha_to_one=True),
        0.0591,
        "the step to sigma = 0 extrapolates noise; gendiff's is DDIM and returns the denoised prediction",
    ),
    Difference(
        case("LMSDiscrete", "deis(4, variable='ratio', start='plain')", timestep_spacing="trailing"),
        0.206,
        "the step to sigma = 0 extrapolates noise; gendiff's is DDIM and returns the denoised prediction",
    ),
    Difference(
        case("DPMSolverMultistep", SECOND, FURTHER, 20, final_sigmas_type="sigma_min", lower_order_final=True),
        0.248,
        "lower_order_final is ignored from 15 steps on",
        proof=lambda: samplers.dpm_solver_multistep(2),
    ),
    Difference(
        case(
            "DPMSolverMultistep",
            "dpm_solver_multistep(3, formula='published', lower_order_final=True)",
            FURTHER,
            20,
            solver_order=3,
            final_sigmas_type="sigma_min",
            euler_at_final=True,
        ),
        7.95e-3,
        "euler_at_final lowers the last step alone; gendiff's lower_order_final also the one before",
    ),
    Difference(
        case("UniPCMultistep", "unipc(2, variant='bh1', lower_order_final=True)", TO_CLEAN, solver_type="bh1"),
        math.inf,
        "B(h) = h is infinite in the step to sigma = 0: NaN",
    ),
    Difference(
        case("UniPCMultistep", "unipc(2)", TO_CLEAN, lower_order_final=False), math.inf, "the step to sigma = 0 has order 2 as well: NaN"
    ),
]

OF_FORMULAS = [
    Difference(
        case("DDPM", "ddpm('large')", "leading(SD, 10)", variance_type="fixed_large_log"), math.inf, "takes the root of a logarithm: NaN"
    ),
    Difference(
        case(
            "PNDM",
            "pndm()",
            "leading(SD, 10, offset=1, end='first')",
            skip_prk_steps=True,
            steps_offset=1,
            kinds=("v_prediction",),
        ),
        0.288,
        "averages velocities of different levels, and converts the mean to noise as if all were of the last",
    ),
    Difference(
        case("IPNDM", "pndm()", kinds=(None,)),
        0.0328,
        "starts with DDIM, and divides by 1e-8 where alpha = 0; gendiff with improved Euler",
    ),
    Difference(
        case("HeunDiscrete", "heun()", "trailing(SD, 10)", timestep_spacing="trailing"),
        0.0446,
        "the trapezoid in x/alpha where sigma > alpha too; gendiff's is in x/sigma there",
    ),
    Difference(
        case("FlowMatchHeunDiscrete", "heun()", kinds=(None,)), 0.0179, "the trapezoid in x and sigma; gendiff's is in x/alpha or x/sigma"
    ),
    Difference(
        case("KDPM2Discrete", "dpm_solver_single(SD, 2)", "trailing(SD, 10)", timestep_spacing="trailing"),
        0.0406,
        "DPM-Solver-2 in noise form; gendiff has the data form",
    ),
    Difference(
        case("DPMSolverMultistep", "dpm_solver_multistep(3, lower_order_final=True)", TO_CLEAN, solver_order=3),
        9.7e-3,
        "the second difference lacks a factor 2, and the first step is DDIM: order 2; gendiff's formula='published'",
        proof=stepper(exponential_integrators.halved, 3),
    ),
    Difference(
        case(
            "DPMSolverMultistep",
            "dpm_solver_multistep(3, eta=1.0, formula='published', lower_order_final=True)",
            TO_CLEAN,
            solver_order=3,
            **SDE,
        ),
        0.861,
        "a sign: -1/2 where the second difference has 1/2, so that its weight does not vanish with h",
        proof=stepper(sign_slipped, 3, eta=1.0),
    ),
    Difference(
        case("DPMSolverMultistep", SECOND, TO_FIRST, **NOISE_FORM),
        0.0276,
        "noise form by the midpoint rule",
        proof=stepper(exponential_integrators.midpoint, 2, NOISE),
    ),
    Difference(
        case("DPMSolverMultistep", "deis(3, start='plain', lower_order_final=True)", TO_FIRST, solver_order=3, **NOISE_FORM),
        4.66e-4,
        "noise form, its second step by the midpoint rule; the second difference lacks a factor 2",
        proof=stepper(exponential_integrators.halved, 3, NOISE),
    ),
    Difference(
        case("DPMSolverMultistep", "ddim(1.0)", TO_FIRST, solver_order=1, algorithm_type="sde-dpmsolver", final_sigmas_type="sigma_min"),
        1.53,
        "the SDE in noise form: fresh noise of standard deviation sigma' sqrt(e^2h - 1)",
    ),
    Difference(
        case("DPMSolverSinglestep", "dpm_solver_single(SD, 2)", f"some(log_snr(SD, 11), {PAIRS})", 11, solver_type="heun", **EVEN),
        0.112,
        "weighs the slope by its exact moment; Lu et al. (2022b, Alg. 1) by half the step",
    ),
    Difference(
        case("DPMSolverSinglestep", "dpm_solver_single(SD, 3)", f"some(log_snr(SD, 10), {TRIPLES})", solver_order=3, **EVEN),
        0.07,
        "the second stage is reached by the midpoint rule; in Lu et al. (2022a, Alg. 2) by the exact moment",
    ),
    Difference(
        case(
            "DPMSolverSinglestep",
            "dpm_solver_single(SD, 3)",
            f"some(log_snr(SD, 10), {TRIPLES})",
            solver_order=3,
            solver_type="heun",
            **EVEN,
        ),
        0.026,
        "ends with a parabola through all three predictions; Lu et al. (2022a, Alg. 2) with the line through the first and the last",
    ),
    Difference(
        case("UniPCMultistep", "unipc(2, lower_order_final=True)", TO_FIRST, predict_x0=False, final_sigmas_type="sigma_min"),
        9.2e-3,
        "noise form; gendiff has the data form",
    ),
    Difference(
        case(
            "UniPCMultistep",
            "dpm_solver_multistep(3, start='plain', lower_order_final=True)",
            TO_CLEAN,
            solver_order=3,
            disable_corrector=list(range(10)),
        ),
        5.9e-3,
        "UniP-3 takes its second step by the midpoint rule",
        proof=stepper(exponential_integrators.midpoint, 3),
    ),
    Difference(
        case("SASolver", "unipc(2, variant='bh1', lower_order_final=True)", TO_FIRST, tau_func=no_noise, note="tau=0"),
        0.0192,
        "its corrector goes through one prediction fewer than UniPC's; corrector_order=3 has as many",
    ),
    Difference(
        case("LTXEulerAncestralRF", "euler_ancestral()", kinds=(None,), eta=1.0),
        0.283,
        "keeps s alpha'/(1 - s) of the predicted noise, s = sigma'²/sigma; the reverse chain keeps s alpha/alpha'",
    ),
]

AS_SHIPPED = [
    Difference(
        case("DEISMultistep", "deis(3, start='plain', lower_order_final=True)", TO_FIRST, solver_order=3),
        3.4e-5,
        "float32: its closed integrals cancel",
        shipped=True,
    ),
    *[
        Difference(
            case("UnCLIP", sampler, "linspace(COSINE, 10)", beta_schedule="squaredcos_cap_v2", step=previous_timestep, **options),
            7.4e-4,
            "float32: the cosine table loses its digits near alpha = 0",
            shipped=True,
        )
        for sampler, options in (("ddpm()", {"kinds": ("sample", "epsilon")}), ("ddpm('learned')", {"variance_type": "learned_range"}))
    ],
]

DIFFERENCES = [*OF_GRIDS, *OF_LAST_STEPS, *OF_FORMULAS, *AS_SHIPPED]

APART = {
    "CogVideoXDPM": "agrees with dpm_solver_multistep(2, eta=1.0); it draws twice a step, and the second draw counts",
    "DDIMInverse": "agrees with inversion.ddim_invert where alpha >= sigma; 0.18 over all levels: elsewhere gendiff keeps clean",
    "ScoreSdeVe": "agrees with ddpm('large'), and with langevin_step for a batch of one; 0.063 for three, over which it shares its norms",
}
"""Driven in ways of their own, in test_diffusers_apart."""

ABSENT = {
    "KDPM2AncestralDiscrete": "DPM-Solver-2 to a level below the aim, then noise",
    "SASolver, tau > 0": "stochastic Adams method whose noise scale depends on t",
    "TCD, eta > 0": "aims at timestep (1 - eta) t' and adds noise from there: the split follows the numbering of the table",
    "LCM": "consistency sampling: all noise is drawn afresh, and the skip connection of a consistency function enters",
    "FlowMatchLCM": "consistency sampling: all noise is drawn afresh",
    "SCM": "consistency sampling: all noise is drawn afresh",
    "CMStochasticIterative": "consistency sampling: noise above a floor is drawn afresh",
    "DPMSolverMultistepInverse": "multistep inversion; gendiff inverts by DDIM, or exactly by reversible Heun",
    "RePaint": "inpainting: a known part is put in at every step, and steps go back",
    "Helios": "stages of one video model; within one it steps like Euler or UniPC, which are compared",
    "HeliosDMD": "few-step student of one video model: all noise is drawn afresh",
    "Piflow": "the network answers a policy, which is integrated without it",
    "RFD4Proteina": "temperature, masks and noise scale of one protein model",
    "Amused": "discrete tokens",
    "BlockRefinement": "discrete tokens",
    "DiscreteDDIM": "discrete tokens",
    "EntropyBound": "discrete tokens",
    "VQDiffusion": "discrete tokens",
}
