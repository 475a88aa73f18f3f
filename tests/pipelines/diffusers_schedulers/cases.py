"""Configurations of schedulers, as published and as edited, and the cheap network and noise with which both sides run
them.
"""

import dataclasses
from typing import Any

import numpy as np

SD = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "trained_betas": None,
}
COPIED = {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1}
SD_1_5 = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0"} | SD | COPIED
SD_2_1 = (
    {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "prediction_type": "v_prediction"} | SD | COPIED
)
SDXL = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    **SD,
    **COPIED,
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
SDXL_TURBO = SDXL | {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}
SD_3 = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "_diffusers_version": "0.29.0.dev0",
    "num_train_timesteps": 1000,
    "shift": 3.0,
}
SEQUENCES = {"base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15}
FLUX_DEV = SD_3 | SEQUENCES | {"_diffusers_version": "0.30.0.dev0", "use_dynamic_shifting": True}
FLUX_SCHNELL = SD_3 | SEQUENCES | {"_diffusers_version": "0.30.0.dev0", "shift": 1.0, "use_dynamic_shifting": False}
LCM = {
    "_class_name": "LCMScheduler",
    "_diffusers_version": "0.22.0.dev0",
    **SD,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "original_inference_steps": 50,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "thresholding": False,
    "timestep_scaling": 10.0,
    "timestep_spacing": "leading",
}
PUBLISHED = {
    "Stable Diffusion 1.5": SD_1_5,
    "Stable Diffusion 2.1": SD_2_1,
    "Stable Diffusion XL": SDXL,
    "SDXL Turbo": SDXL_TURBO,
    "Stable Diffusion 3": SD_3,
    "FLUX.1 dev": FLUX_DEV,
    "FLUX.1 schnell": FLUX_SCHNELL,
    "LCM": LCM,
}
"""The scheduler_config.json of published models, from memory."""


def scheduler_config(name: str, *parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A configuration on Stable Diffusion's chain."""
    config = {"_class_name": f"{name}Scheduler"} | SD
    for part in (*parts, fields):
        config |= part
    return config


@dataclasses.dataclass(frozen=True)
class Case:
    """A configuration and what a draw is asked for. evenly: the sigmas 1 … 1/n are handed over, as the pipeline of FLUX
    does.
    """

    config: dict[str, Any]
    steps: int = 10
    tokens: int | None = None
    evenly: bool = False

    @property
    def sigmas(self) -> np.ndarray | None:
        return np.linspace(1.0, 1 / self.steps, self.steps) if self.evenly else None


ZERO = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
TO_MIN = {"final_sigmas_type": "sigma_min"}
KARRAS = {"use_karras_sigmas": True}
STRAIGHT = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
CASES = {
    "PNDM of SD 1.5": Case(SD_1_5),
    "PNDM between its levels": Case(SD_1_5 | {"timestep_spacing": "linspace", "set_alpha_to_one": True}, 7),
    "PNDM of velocities": Case(SD_1_5 | {"prediction_type": "v_prediction"}),
    "PNDM with Runge-Kutta": Case(SD_1_5 | {"skip_prk_steps": False}),
    "DDIM of SD 2.1": Case(SD_2_1),
    "DDIM between its levels": Case(scheduler_config("DDIM", ZERO, clip_sample=False), 7),
    "DDIM clipped": Case(scheduler_config("DDIM", clip_sample_range=0.8, timestep_spacing="linspace")),
    "DDIM thresholded": Case(
        scheduler_config(
            "DDIM", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5, prediction_type="sample"
        )
    ),
    "DDPM": Case(scheduler_config("DDPM", variance_type="fixed_large")),
    "Euler of SDXL": Case(SDXL),
    "Euler between timesteps": Case(SDXL | {"timestep_spacing": "linspace"}, 8),
    "Euler, Karras": Case(SDXL | KARRAS),
    "Euler, exponential": Case(SDXL | {"use_exponential_sigmas": True, "sigma_max": 10.0, "sigma_min": 0.1}),
    "Euler, Beta": Case(SDXL | {"use_beta_sigmas": True}),
    "Euler at zero terminal SNR": Case(SDXL | ZERO),
    "Euler ancestral of SDXL Turbo": Case(SDXL_TURBO),
    "Heun": Case(scheduler_config("HeunDiscrete")),
    "Heun, Karras": Case(scheduler_config("HeunDiscrete", KARRAS, prediction_type="sample")),
    "multistep": Case(scheduler_config("DPMSolverMultistep")),
    "multistep 3": Case(
        scheduler_config("DPMSolverMultistep", KARRAS, solver_order=3, timestep_spacing="leading", steps_offset=1), 16
    ),
    "multistep, log-SNR": Case(scheduler_config("DPMSolverMultistep", solver_type="heun", use_lu_lambdas=True)),
    "multistep, noise form": Case(scheduler_config("DPMSolverMultistep", TO_MIN, algorithm_type="dpmsolver")),
    "multistep 3, noise form": Case(
        scheduler_config("DPMSolverMultistep", TO_MIN, algorithm_type="dpmsolver", solver_order=3)
    ),
    "multistep, stochastic": Case(
        scheduler_config("DPMSolverMultistep", algorithm_type="sde-dpmsolver++", timestep_spacing="trailing")
    ),
    "multistep at zero terminal SNR": Case(scheduler_config("DPMSolverMultistep", ZERO, euler_at_final=True)),
    "multistep on the straight path": Case(scheduler_config("DPMSolverMultistep", STRAIGHT)),
    "single step": Case(scheduler_config("DPMSolverSinglestep")),
    "single step, whole pairs": Case(scheduler_config("DPMSolverSinglestep", KARRAS, TO_MIN)),
    "UniPC": Case(scheduler_config("UniPCMultistep")),
    "UniPC 3": Case(scheduler_config("UniPCMultistep", KARRAS, TO_MIN, solver_order=3, solver_type="bh1")),
    "UniPC on the straight path": Case(scheduler_config("UniPCMultistep", STRAIGHT, shift_terminal=0.1)),
    "LCM": Case(LCM, 4),
    "flow of SD 3": Case(SD_3),
    "flow of FLUX": Case(FLUX_DEV, tokens=1024, evenly=True),
    "flow by its own sigmas": Case(FLUX_DEV | {"time_shift_type": "linear", "shift_terminal": 0.02}, tokens=4096),
    "flow, Karras": Case(SD_3 | KARRAS),
    "flow, stochastic": Case(SD_3 | {"stochastic_sampling": True}),
}
START = np.sin(1.7 * np.arange(24) ** 1.5).reshape(2, 3, 4).astype(np.float32) * 1.4


def network(x: Any, t: Any, xp: Any = np) -> Any:
    """What both sides ask: bent in x, and moved by half a timestep."""
    return 0.5 * x + 0.3 * xp.sin(3 * x + t / 100)


def noise(step: int) -> np.ndarray:
    """What both sides draw in a step."""
    return np.cos(1.0 + 5.0 * step + 2.0 * np.arange(24)).reshape(2, 3, 4).astype(np.float32) * 1.4
