"""Writes fixture.safetensors: where the schedulers of diffusers end in each case. Run by hand:

pip install torch diffusers
PYTHONPATH=. python -m tests.pipelines.diffusers_schedulers.make_fixture
"""

import inspect
import math
import pathlib
from unittest import mock

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

from tests.pipelines.diffusers_schedulers.cases import CASES, START, Case, network, noise


def run(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The end of a draw, and what the network was told: t (n,) of each call."""
    kind = getattr(diffusers, case.config["_class_name"])
    scheduler = kind.from_config(case.config)
    options = {} if case.tokens is None else {"mu": mu(scheduler.config, case.tokens)}
    options |= {} if case.sigmas is None else {"sigmas": case.sigmas}
    scheduler.set_timesteps(case.steps, **options)
    x, timesteps = torch.from_numpy(START) * getattr(scheduler, "init_noise_sigma", 1.0), []
    for call, t in enumerate(scheduler.timesteps):
        timesteps.append(float(t))
        answer = network(scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x, t, torch)
        patches = {"randn_tensor": lambda *_, call=call, **__: torch.from_numpy(noise(call))}
        with mock.patch.dict(vars(inspect.getmodule(kind)), patches):
            x = scheduler.step(answer, t, x).prev_sample
    return x.numpy().astype(np.float32), np.array(timesteps, np.float32)


def mu(config: dict, tokens: int) -> float:
    """As calculate_shift of the pipelines that shift by resolution; with a linear time_shift_type it is the shift
    itself.
    """
    slope = (config["max_shift"] - config["base_shift"]) / (config["max_image_seq_len"] - config["base_image_seq_len"])
    return math.fsum([config["base_shift"], slope * (tokens - config["base_image_seq_len"])])


def main() -> None:
    arrays = {}
    for name, case in CASES.items():
        arrays[f"{name}: end"], arrays[f"{name}: t"] = run(case)
    about = {"made_by": f"diffusers {diffusers.__version__}, torch {torch.__version__}, float32"}
    save_file(arrays, pathlib.Path(__file__).with_name("fixture.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
