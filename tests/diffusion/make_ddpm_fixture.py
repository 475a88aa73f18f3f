"""Writes ddpm_fixture.safetensors: ten DDPM steps of diffusers with the noise given to it. Run by hand, in an
environment with torch:

    python tests/diffusion/make_ddpm_fixture.py

The model is the one of diffusers' own scheduler tests, output = x * t / (t + 1). Its tables are float32; a float64
table of the same betas replaces them, so that the comparison tests the formulas and not the rounding.
"""

import pathlib

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_ddpm
from safetensors.numpy import save_file

STEPS = 10
SHAPE = (2, 3, 2, 2)


def trajectory(variance: str, start: torch.Tensor, noises: torch.Tensor) -> np.ndarray:
    """(STEPS, *SHAPE): the state after each step."""
    scheduler = diffusers.DDPMScheduler(
        1000, 1e-4, 0.02, "linear", variance_type=variance, clip_sample=False, timestep_spacing="leading"
    )
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    scheduler.betas, scheduler.alphas, scheduler.alphas_cumprod = betas, 1 - betas, torch.cumprod(1 - betas, dim=0)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(STEPS)
    x, states = start, []
    for step, t in enumerate(scheduler.timesteps):
        scheduling_ddpm.randn_tensor = lambda *_, step=step, **__: noises[step]
        x = scheduler.step(x * t / (t + 1), t, x).prev_sample
        states.append(x.numpy().copy())
    assert x.dtype == torch.float64
    return np.stack(states)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    noises = torch.randn((STEPS, *SHAPE), generator=generator, dtype=torch.float64)
    arrays = {"start": start.numpy(), "noises": noises.numpy()}
    for name in ("small", "large"):
        arrays[name] = trajectory(f"fixed_{name}", start, noises)
    about = {
        "made_by": f"diffusers {diffusers.__version__} DDPMScheduler, torch {torch.__version__}",
        "grid": "leading, 10 of 1000, linear 1e-4 to .02",
    }
    save_file(arrays, pathlib.Path(__file__).with_name("ddpm_fixture.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
