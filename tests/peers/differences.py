"""The options of both peers that end elsewhere than a sampler of gendiff: by how much, and why; and what has no
counterpart.

A line is the largest difference of an entry of x | the peer as it is called | gendiff's sampler | gendiff's levels.
Below it stands the cause | a sampler that does what the cause says, and then agrees.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gendiff.core import records
from gendiff.diffusion.samplers.deis import VARIABLES
from gendiff.diffusion.samplers.dpm_solver_multistep import Coefficients, Multistep
from gendiff.diffusion.samplers.exponential_integrators import Rule, halved, midpoint, moments
from gendiff.diffusion.sampling import Sampler
from tests.peers.cases import NAMES, differences


def with_second(rule: Rule, change: Callable[[jax.Array, jax.Array], jax.Array]) -> Rule:
    """The rule, but where two other predictions are in use M_2 is `change` of itself and of the step."""

    def changed(step: jax.Array, rate: Any, others: jax.Array, count: int) -> list[jax.Array]:
        weights = rule(step, rate, others, count)
        return [
            jnp.where(others == 2, change(moment, step), moment) if k == 2 else moment
            for k, moment in enumerate(weights, 1)
        ]

    return changed


def stepper(
    rule: Rule, order: int, method: Coefficients | None = None, eta: float | None = None, lower: bool = True
) -> Sampler:
    """A multistep sampler whose moments follow another rule, started plainly and, with `lower`, of lower order at the
    end.
    """
    return Multistep(
        records.replace(Coefficients() if method is None else method, rule=rule), order, "never", lower, eta
    )


NAMED = NAMES | {
    **{each.__name__: each for each in (stepper, halved, midpoint)},
    "SIGN_SLIPPED": with_second(halved, lambda moment, step: moment - step**2),  # -1/2 where M_2 / h² has 1/2
    "SECOND_EXACT": with_second(moments, lambda moment, step: moment / 2),  # halved, but for its midpoint rule
    "NOISE": VARIABLES["log_ratio"],
}

DIFFUSERS = """\
0.0515 | DDIM(steps=7, **TRAILING) | ddim() | trailing(SD, 7)
    the previous timestep is t - T//n, not the next one of the grid
0.18 | DDIM(timestep_spacing='linspace') | ddim() | linspace(SD, 10)
    the previous timestep is t - T//n, not the next one of the grid
0.152 | PNDM(skip_prk_steps=True, timestep_spacing='linspace') | pndm() | linspace(SD, 10, end='first')
    the previous timestep is t - T//n, not the next one of the grid
0.00137 | EulerDiscrete(steps=16, **TRAILING) | euler() | trailing(SD, 16)
    halves are rounded to the even timestep, gendiff rounds them up: 35 numbers of steps, 16, 32, 48, 64 …
0.00288 | DPMSolverMultistep(steps=6) | SECOND | without_last_start(linspace(SD, 7))
    halves are rounded to the even timestep, gendiff rounds them up: 220 numbers of steps, 6, 12, 18, 24, 26, 30 …
0.00046 | EulerDiscrete(steps=20) | euler() | linspace(SD, 20)
    t is not rounded, and sigma/alpha runs straight between two entries
0.0087 | DPMSolverSinglestep(steps=11, lower_order_final=True) | dpm_solver_single(SD, 2) | some(own, [0, 2, 4, 6, 8, 10, 11])
    the stage lies at the timestep in the middle, gendiff's in the middle of log-SNR
0.033 | FlowMatchEulerDiscrete(kinds=UNNAMED) | euler() | trailing(FLOW, 10)
    sigma runs evenly from 1 to 1/1000, and then to 0
0.00049 | DPMSolverMultistep(**TRAILING, **ZERO, kinds=VELOCITY) | SECOND | trailing(ZERO_SNR, 10)
    zero terminal SNR is alpha² = 2^-24 in schedulers that work with sigma/alpha
0.836 | DDPM(variance_type='fixed_large', **TRAILING) | ddpm('large') | trailing(SD, 10)
    the last step adds noise of standard deviation sigma unless its t is 0
0.107 | DDPM(variance_type='fixed_large', steps_offset=1) | ddpm('large') | leading(SD, 10, offset=1)
    the last step adds noise of standard deviation sigma unless its t is 0
0.0258 | DDPMWuerstchen(kinds=UNNAMED) | ddpm() | own
    alpha² is held below 0.9999 and yet the last step adds no noise; gendiff adds the posterior's
0.0591 | PNDM(skip_prk_steps=True, steps_offset=1, set_alpha_to_one=True) | pndm() | leading(SD, 10, offset=1)
    the step to sigma = 0 extrapolates noise; gendiff's is DDIM and returns the denoised prediction
0.206 | LMSDiscrete(**TRAILING) | deis(4, variable='ratio', start='plain') | own
    the step to sigma = 0 extrapolates noise; gendiff's is DDIM and returns the denoised prediction
0.248 | DPMSolverMultistep(steps=20, **TO_MIN, lower_order_final=True) | SECOND | FURTHER
    lower_order_final is ignored from 15 steps on | dpm_solver_multistep(2)
0.00795 | DPMSolverMultistep(steps=20, solver_order=3, **TO_MIN, euler_at_final=True) | PUBLISHED | FURTHER
    euler_at_final lowers the last step alone; gendiff's lower_order_final also the one before
inf | UniPCMultistep(solver_type='bh1') | unipc(2, variant='bh1', lower_order_final=True) | TO_CLEAN
    B(h) = h is infinite in the step to sigma = 0: NaN
inf | UniPCMultistep(lower_order_final=False) | unipc(2) | TO_CLEAN
    the step to sigma = 0 has order 2 as well: NaN
inf | DDPM(variance_type='fixed_large_log') | ddpm('large') | leading(SD, 10)
    takes the root of a logarithm: NaN
0.288 | PNDM(skip_prk_steps=True, steps_offset=1, kinds=VELOCITY) | pndm() | leading(SD, 10, offset=1, end='first')
    averages velocities of different levels, and converts the mean to noise as if all were of the last
0.0328 | IPNDM(kinds=UNNAMED) | pndm() | own
    starts with DDIM, and divides by 1e-8 where alpha = 0; gendiff with improved Euler
0.0446 | HeunDiscrete(**TRAILING) | heun() | trailing(SD, 10)
    the trapezoid in x/alpha where sigma > alpha too; gendiff's is in x/sigma there
0.0179 | FlowMatchHeunDiscrete(kinds=UNNAMED) | heun() | own
    the trapezoid in x and sigma; gendiff's is in x/alpha or x/sigma
0.0406 | KDPM2Discrete(**TRAILING) | dpm_solver_single(SD, 2) | trailing(SD, 10)
    DPM-Solver-2 in noise form; gendiff has the data form
0.0097 | DPMSolverMultistep(solver_order=3) | dpm_solver_multistep(3, lower_order_final=True) | TO_CLEAN
    the second difference lacks a factor 2, and the first step is DDIM: order 2; gendiff's formula='published' | stepper(halved, 3)
0.861 | DPMSolverMultistep(solver_order=3, **SDE) | dpm_solver_multistep(3, eta=1.0, formula='published', lower_order_final=True) | TO_CLEAN
    a sign: -1/2 where the second difference has 1/2, so that its weight does not vanish with h | stepper(SIGN_SLIPPED, 3, eta=1.0)
0.0276 | DPMSolverMultistep(**NOISE_FORM) | SECOND | TO_FIRST
    noise form by the midpoint rule | stepper(midpoint, 2, NOISE)
0.000466 | DPMSolverMultistep(solver_order=3, **NOISE_FORM) | deis(3, start='plain', lower_order_final=True) | TO_FIRST
    noise form, its second step by the midpoint rule; the second difference lacks a factor 2 | stepper(halved, 3, NOISE)
1.53 | DPMSolverMultistep(solver_order=1, algorithm_type='sde-dpmsolver', **TO_MIN) | ddim(1.0) | TO_FIRST
    the SDE in noise form: fresh noise of standard deviation sigma' sqrt(e^2h - 1)
0.112 | DPMSolverSinglestep(steps=11, solver_type='heun', **EVEN) | dpm_solver_single(SD, 2) | PAIRED
    weighs the slope by its exact moment; Lu et al. (2022b, Alg. 1) by half the step
0.07 | DPMSolverSinglestep(solver_order=3, **EVEN) | dpm_solver_single(SD, 3) | TRIPLED
    the second stage is reached by the midpoint rule; in Lu et al. (2022a, Alg. 2) by the exact moment
0.026 | DPMSolverSinglestep(solver_order=3, solver_type='heun', **EVEN) | dpm_solver_single(SD, 3) | TRIPLED
    ends with a parabola through all three predictions; Lu et al. (2022a, Alg. 2) with the line through the first and the last
0.0092 | UniPCMultistep(predict_x0=False, **TO_MIN) | unipc(2, lower_order_final=True) | TO_FIRST
    noise form; gendiff has the data form
0.0059 | UniPCMultistep(solver_order=3, **UNCORRECTED) | dpm_solver_multistep(3, start='plain', lower_order_final=True) | TO_CLEAN
    UniP-3 takes its second step by the midpoint rule | stepper(midpoint, 3)
0.0192 | SASolver(**TAU_0) | unipc(2, variant='bh1', lower_order_final=True) | TO_FIRST
    its corrector goes through one prediction fewer than UniPC's; corrector_order=3 has as many
0.283 | LTXEulerAncestralRF(kinds=UNNAMED, eta=1.0) | euler_ancestral() | own
    keeps s alpha'/(1 - s) of the predicted noise, s = sigma'²/sigma; the reverse chain keeps s alpha/alpha'
"""

AS_SHIPPED = """\
3.4e-05 | DEISMultistep(solver_order=3) | deis(3, start='plain', lower_order_final=True) | TO_FIRST
    float32: its closed integrals cancel
0.00074 | UnCLIP(beta_schedule='squaredcos_cap_v2', kinds=('sample', 'epsilon')) | ddpm() | linspace(COSINE, 10)
    float32: the cosine table loses its digits near alpha = 0
0.00074 | UnCLIP(beta_schedule='squaredcos_cap_v2', variance_type='learned_range') | ddpm('learned') | linspace(COSINE, 10)
    float32: the cosine table loses its digits near alpha = 0
"""

K_DIFFUSION = """\
0.684 | sample_heun | heun() | karras(EDM, 10)
    the trapezoid in x where sigma > 1 too; gendiff's is in x/sigma there
0.446 | sample_dpm_2 | dpm_solver_single(EDM, 2) | karras(EDM, 10)
    DPM-Solver-2 in noise form; gendiff has the data form
1.15e-5 | sample_lms | deis(4, variable='ratio', start='plain') | karras(EDM, 10)
    the step to sigma = 0 extrapolates noise; gendiff's is DDIM and returns the denoised prediction
1.05 | sample_dpmpp_2s_ancestral(eta=1.0, path=1.0) | dpm_solver_single(EDM, 2, eta=1.0) | karras(EDM, 10)
    a step of the flow to below the aim, then noise; gendiff follows the SDE, with noise in the middle of the step too
0.57 | sample_dpmpp_sde(eta=0.5, path=0.5) | dpm_solver_single(EDM, 2, eta=0.5) | karras(EDM, 10)
    eta multiplies the fresh noise of a step; in gendiff, the noise of the SDE. Equal for 0 and 1
2.16e-5 | sample_dpmpp_3m_sde(eta=0.0) | dpm_solver_multistep(3, formula='published') | karras(EDM, 10)
    its second step integrates the line exactly; the published code uses the midpoint rule | stepper(SECOND_EXACT, 3, lower=False)
1.17e-5 | sample_dpmpp_3m_sde(eta=1.0) | dpm_solver_multistep(3, eta=1.0, formula='published') | karras(EDM, 10)
    its second step integrates the line exactly; the published code uses the midpoint rule | stepper(SECOND_EXACT, 3, eta=1.0, lower=False)
0.3 | sample_dpmpp_3m_sde(eta=0.0) | dpm_solver_multistep(3) | karras(EDM, 10)
    the second difference lacks a factor 2, and the first step is DDIM: order 2 | stepper(SECOND_EXACT, 3, lower=False)
0.575 | sample_dpm_fast(n=9) | dpm_solver_single(EDM, 3) | log_snr(EDM, 4, end='first')
    DPM-Solver in noise form with steps of order 3, 3, 2 and 1; gendiff has the data form, all of order 3
"""

DIFFERENCES = {
    "diffusers": differences(DIFFUSERS, NAMED) + differences(AS_SHIPPED, NAMED, shipped=True),
    "k-diffusion": differences(K_DIFFUSION, NAMED),
}

APART = {
    "diffusers": {
        "DDIMInverse": "noise prediction agrees with inversion.ddim_invert where alpha >= sigma; 0.18 over all levels, "
        "as gendiff keeps clean elsewhere. Velocity differs by 0.23 even there: it is read at the cleaner level, for "
        "which it was not predicted",
        "ScoreSdeVe, corrector": "agrees with langevin_step for a batch of one; 0.063 for three, over which it shares "
        "its norms",
        "LCM": "agrees with diffusion.distillation.consistency, which is for distilled networks and not in the "
        "catalogue",
    },
    "k-diffusion": {
        "sample_dpm_adaptive": "ends on the exact flow to 1e-5 with small tolerances; its steps depend on the whole "
        "batch"
    },
}
"""Driven in ways of their own, in test_apart and test_diffusers_schedulers."""

ABSENT = {
    "diffusers": {
        "KDPM2AncestralDiscrete": "DPM-Solver-2 to a level below the aim, then noise",
        "SASolver, tau > 0": "stochastic Adams method whose noise scale depends on t",
        "TCD, eta > 0": "aims at timestep (1 - eta) t' and adds noise from there: the split follows the numbering of "
        "the table",
        **dict.fromkeys(("FlowMatchLCM", "SCM"), "consistency sampling: all noise is drawn afresh"),
        "CMStochasticIterative": "consistency sampling: noise above a floor is drawn afresh",
        "DPMSolverMultistepInverse": "multistep inversion; gendiff inverts by DDIM, or exactly by reversible Heun",
        "KarrasVe": "EDM's Algorithm 2 in pieces that its caller puts together: add_noise_to_input, step, "
        "step_correct; deprecated",
        "RePaint": "inpainting: a known part is put in at every step, and steps go back",
        "Helios": "stages of one video model; within one it steps like Euler or UniPC, which are compared",
        "HeliosDMD": "few-step student of one video model: all noise is drawn afresh",
        "Piflow": "the network answers a policy, which is integrated without it",
        "RFD4Proteina": "temperature, masks and noise scale of one protein model",
        **dict.fromkeys(
            ("Amused", "BlockRefinement", "DiscreteDDIM", "EntropyBound", "VQDiffusion"), "discrete tokens"
        ),
    },
    "k-diffusion": {"sample_dpm_2_ancestral": "DPM-Solver-2 to a level below the aim, then noise"},
}
