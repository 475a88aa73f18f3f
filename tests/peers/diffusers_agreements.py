"""The schedulers of diffusers, and the options of each, that end where a sampler of gendiff does."""

from collections.abc import Callable

import numpy as np

from tests.peers import exact
from tests.peers.diffusers_case import EVEN, EVERY_KIND, FURTHER, NAMES, NOISE_FORM, PAIRS, SDE, TO_CLEAN, TO_FIRST, case

TWO = ("epsilon", "v_prediction")
BUT_LAST = "all but the last step"


def two_noises(levels: str) -> Callable[[int], np.ndarray]:
    """At each call of a scheduler that is asked twice a step: the noises that gendiff's sampler draws on one path with eta = 1."""
    return lambda call: exact.path_noise(eval(levels, NAMES), 1.0, call // 2, early=call % 2 == 0)


def no_noise(t: int) -> float:
    """SASolver's noise scale at a timestep."""
    return 0.0


TABLES = [
    case("DDIM", "ddim()", "leading(SD, 10, offset=1)", steps_offset=1, kinds=EVERY_KIND),
    case("DDIM", "ddim()", "leading(SD, 10, offset=1, end='first')", steps_offset=1, set_alpha_to_one=False),
    case("DDIM", "ddim()", "trailing(SD, 10)", timestep_spacing="trailing"),
    case("DDIM", "ddim()", "trailing(ZERO_SNR, 10)", timestep_spacing="trailing", rescale_betas_zero_snr=True, kinds=EVERY_KIND[1:]),
    case("DDIM", "ddim(0.5)", "leading(SD, 10, offset=1)", steps_offset=1, step={"eta": 0.5}),
    case("DDIMParallel", "ddim()", "trailing(SD, 10)", timestep_spacing="trailing", kinds=EVERY_KIND),
    case("CogVideoXDDIM", "ddim()", "trailing(shifted(SD, 3**0.5), 10)", timestep_spacing="trailing", kinds=EVERY_KIND),
    case(
        "CogVideoXDDIM",
        "ddim()",
        "trailing(zero_terminal_snr(shifted(SD, 3**0.5)), 10)",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        kinds=("v_prediction",),
    ),
    case("DDPM", "ddpm()", "leading(SD, 10)", kinds=EVERY_KIND),
    case("DDPM", "ddpm()", "trailing(SD, 10)", timestep_spacing="trailing"),
    case("DDPM", "ddpm()", "linspace(SD, 10)", timestep_spacing="linspace"),
    case("DDPM", "ddpm()", "leading(SD, 10)", variance_type="fixed_small_log"),
    case("DDPM", "ddpm('large')", "leading(SD, 10)", variance_type="fixed_large"),
    case(
        "DDPM",
        "ddpm('large')",
        "trailing(SD, 10)[:-1]",
        variance_type="fixed_large",
        timestep_spacing="trailing",
        calls=9,
        note=BUT_LAST,
    ),
    case("DDPM", "ddpm('learned')", "leading(SD, 10)", variance_type="learned_range"),
    case("DDPMParallel", "ddpm()", "leading(SD, 10)"),
    case("DDPMWuerstchen", "ddpm()", calls=9, kinds=(None,), note=BUT_LAST),
    case("PNDM", "pndm()", "leading(SD, 10, offset=1, end='first')", skip_prk_steps=True, steps_offset=1),
    case("PNDM", "pndm()", "trailing(SD, 10, end='first')", skip_prk_steps=True, timestep_spacing="trailing"),
    case(
        "PNDM",
        "pndm()",
        "leading(SD, 10, offset=1)[:-1]",
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=True,
        calls=10,
        note=BUT_LAST,
    ),
    case("PNDM", "pndm(SD)", "leading(SD, 10, offset=1, end='first')", steps_offset=1),
    case("TCD", "ddim()", step={"eta": 0.0}, kinds=EVERY_KIND),
]

RATIOS = [
    case("EulerDiscrete", "euler()", "trailing(SD, 10)", timestep_spacing="trailing", kinds=EVERY_KIND),
    case("EulerDiscrete", "euler()", "leading(SD, 10, offset=1)", timestep_spacing="leading", steps_offset=1),
    case("EulerDiscrete", "euler()", steps=20),
    case("EulerDiscrete", "euler()", "karras(SD, 10)", use_karras_sigmas=True),
    case("EulerDiscrete", "euler()", "log_snr(SD, 10)", use_exponential_sigmas=True),
    case("EulerDiscrete", "euler()", use_beta_sigmas=True),
    case("EulerAncestralDiscrete", "euler_ancestral()", "trailing(SD, 10)", timestep_spacing="trailing", kinds=TWO),
    case(
        "HeunDiscrete",
        "heun()",
        timesteps={"timesteps": [300, 250, 200, 150, 100, 50, 20, 0]},
        kinds=EVERY_KIND,
        note="levels with sigma <= alpha",
    ),
    case("LMSDiscrete", "deis(4, variable='ratio', start='plain')", calls=9, kinds=EVERY_KIND, note=BUT_LAST),
    case("LMSDiscrete", "deis(2, variable='ratio', start='plain')", calls=9, step={"order": 2}, note=BUT_LAST),
    case("EDMEuler", "euler()", "karras(EDM, 10)", kinds=TWO),
    case("EDMEuler", "euler()", "log_snr(EDM, 10)", sigma_schedule="exponential"),
    case("FlowMatchEulerDiscrete", "euler()", shift=3.0, kinds=(None,)),
    case(
        "FlowMatchEulerDiscrete",
        "euler()",
        "trailing(shifted(FLOW, 3.0), 10)",
        shift=3.0,
        kinds=(None,),
        timesteps={"sigmas": np.linspace(1, 0.1, 10)},
        note="sigmas=linspace(1, 1/n, n)",
    ),
    case("FlowMapEulerDiscrete", "euler()", "trailing(shifted(FLOW, 3.0), 10)", shift=3.0, kinds=(None,)),
    case("MiniMaxH3", "euler()", kinds=(None,)),
    case("LTXEulerAncestralRF", "euler()", kinds=(None,), eta=0.0),
]

SECOND = "dpm_solver_multistep(2, lower_order_final=True)"
INTEGRATORS = [
    case("DPMSolverMultistep", "dpm_solver_multistep(1)", TO_CLEAN, solver_order=1),
    case("DPMSolverMultistep", SECOND, TO_CLEAN, kinds=EVERY_KIND),
    case("DPMSolverMultistep", SECOND, TO_FIRST, final_sigmas_type="sigma_min"),
    case("DPMSolverMultistep", SECOND, FURTHER, 20, final_sigmas_type="sigma_min", euler_at_final=True),
    case("DPMSolverMultistep", "dpm_solver_multistep(2)", FURTHER, 20, final_sigmas_type="sigma_min", lower_order_final=False),
    case("DPMSolverMultistep", "dpm_solver_multistep(2)", "without_last_start(linspace(SD, 21))", 20),
    case("DPMSolverMultistep", "dpm_solver_multistep(2, formula='exact', lower_order_final=True)", TO_CLEAN, solver_type="heun"),
    case("DPMSolverMultistep", "dpm_solver_multistep(3, formula='published', lower_order_final=True)", TO_CLEAN, solver_order=3),
    case("DPMSolverMultistep", SECOND, "trailing(SD, 10)", timestep_spacing="trailing"),
    case("DPMSolverMultistep", SECOND, "karras(SD, 10)", use_karras_sigmas=True),
    case("DPMSolverMultistep", SECOND, "log_snr(SD, 10)", use_lu_lambdas=True),
    case("DPMSolverMultistep", SECOND, "log_snr(SD, 10)", use_exponential_sigmas=True),
    case("DPMSolverMultistep", SECOND, use_flow_sigmas=True, flow_shift=3.0, kinds=("flow_prediction",)),
    case("DPMSolverMultistep", SECOND, timestep_spacing="trailing", rescale_betas_zero_snr=True, kinds=("v_prediction",)),
    case("DPMSolverMultistep", "ddim(1.0)", TO_CLEAN, solver_order=1, **SDE),
    case("DPMSolverMultistep", "dpm_solver_multistep(2, eta=1.0, lower_order_final=True)", TO_CLEAN, kinds=EVERY_KIND, **SDE),
    case(
        "DPMSolverMultistep",
        "dpm_solver_multistep(2, eta=1.0, formula='exact', lower_order_final=True)",
        TO_CLEAN,
        solver_type="heun",
        **SDE,
    ),
    case("DPMSolverMultistep", "ddim()", TO_FIRST, solver_order=1, **NOISE_FORM),
    case("DPMSolverMultistep", "deis(2, lower_order_final=True)", TO_FIRST, solver_type="heun", **NOISE_FORM),
    case("DPMSolverSinglestep", "ddim()", TO_CLEAN, solver_order=1, lower_order_final=True),
    case("DPMSolverSinglestep", "dpm_solver_single(SD, 2)", f"some(log_snr(SD, 11), {PAIRS})", 11, kinds=EVERY_KIND, **EVEN),
    case(
        "DPMSolverSinglestep",
        "dpm_solver_single(SD, 2, eta=1.0)",
        f"some(log_snr(SD, 11), {PAIRS})",
        11,
        noise=two_noises(f"some(log_snr(SD, 11), {PAIRS})"),
        **EVEN,
        **SDE,
    ),
    case(
        "DPMSolverSDE",
        "dpm_solver_single(SD, 2, eta=1.0)",
        "trailing(SD, 10)",
        timestep_spacing="trailing",
        noise=two_noises("trailing(SD, 10)"),
        kinds=TWO,
    ),
    case("DEISMultistep", "deis(1)", TO_FIRST, solver_order=1),
    case("DEISMultistep", "deis(2, lower_order_final=True)", TO_FIRST, kinds=EVERY_KIND),
    case("DEISMultistep", "deis(2, lower_order_final=True)", use_karras_sigmas=True),
    case("UniPCMultistep", "unipc(1, lower_order_final=True)", TO_CLEAN, solver_order=1),
    case("UniPCMultistep", "unipc(2, lower_order_final=True)", TO_CLEAN, kinds=EVERY_KIND),
    case("UniPCMultistep", "unipc(3, lower_order_final=True)", TO_CLEAN, solver_order=3),
    *[
        case(
            "UniPCMultistep",
            f"unipc({order}, variant='bh1', lower_order_final=True)",
            TO_FIRST,
            solver_order=order,
            solver_type="bh1",
            final_sigmas_type="sigma_min",
        )
        for order in (1, 2, 3)
    ],
    case("UniPCMultistep", "unipc(2)", TO_FIRST, lower_order_final=False, final_sigmas_type="sigma_min"),
    case("UniPCMultistep", "unipc(2, lower_order_final=True)", use_flow_sigmas=True, flow_shift=3.0, kinds=("flow_prediction",)),
    case("UniPCMultistep", SECOND, TO_CLEAN, disable_corrector=list(range(10))),
    *[
        case(
            "SASolver",
            f"unipc({order}, variant='bh1', lower_order_final=True)",
            TO_FIRST,
            predictor_order=order,
            corrector_order=order + 1,
            tau_func=no_noise,
            note="tau=0",
        )
        for order in (1, 2, 3)
    ],
    case("EDMDPMSolverMultistep", SECOND, "karras(EDM, 10)", kinds=TWO),
    case(
        "EDMDPMSolverMultistep", "dpm_solver_multistep(3, formula='published', lower_order_final=True)", "karras(EDM, 10)", solver_order=3
    ),
    case(
        "EDMDPMSolverMultistep", "dpm_solver_multistep(2, formula='exact', lower_order_final=True)", "karras(EDM, 10)", solver_type="heun"
    ),
    case("EDMDPMSolverMultistep", "dpm_solver_multistep(2, eta=1.0, lower_order_final=True)", "karras(EDM, 10)", **SDE),
    case(
        "CosineDPMSolverMultistep",
        "dpm_solver_multistep(2, eta=1.0, lower_order_final=True)",
        "log_snr(edm(0.3, 500.0), 10)",
        kinds=("v_prediction", "epsilon"),
    ),
]

AGREEMENTS = [*TABLES, *RATIOS, *INTEGRATORS]
