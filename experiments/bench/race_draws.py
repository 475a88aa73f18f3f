"""Draws of a race to equal quality: samplers of ours and schedulers of diffusers for a flow, by one trained network
from the same noise.

The network may be one of latents, whose pictures count: then `decoder` is the folder of what decodes them.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import image_networks, weights
from experiments.bench.lazily import (
    denoiser,
    devices,
    diffusers,
    diffusers_autoencoder,
    draws,
    files,
    grids,
    image_coding,
    jax,
    jnp,
    networks,
    parameterization,
    sampling,
    schedules,
    torch,
)
from experiments.bench.workloads import Way, Workload

LONGEST = 50
"""Most steps of a draw."""
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "FlowMatchEuler": ("FlowMatchEulerDiscreteScheduler", {}),
    "FlowMatchHeun": ("FlowMatchHeunDiscreteScheduler", {}),
    "DPMSolverMultistep": (
        "DPMSolverMultistepScheduler",
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True},
    ),
    "UniPCMultistep": ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
}
SCHEDULERS["UniPCMultistep, Karras' levels"] = (
    "UniPCMultistepScheduler",
    SCHEDULERS["UniPCMultistep"][1] | {"use_karras_sigmas": True},
)
"""Methods of diffusers: a class, and what it is told; the first, Euler on the levels 1, …, 1 / steps, is DDIM on the
grid `trailing`.

Where it spaces levels exponentially, and in DPMSolverMultistep also as Karras does, diffusers 0.42 takes σ / α for the
σ of a flow: NaN.
"""
init = image_networks.init


def ours(
    workload: Workload,
    arrays: dict[str, Any],
    folder: str,
    together: int,
    method: str,
    resolution: float,
    norm: float,
    decoder: str = "",
) -> Way:
    """The samples of the noise and labels by a method of the experiment few-step, compiled once for every number of
    steps.

    together: samples of one call. resolution, norm: of `grids.resolved`, the grid of all methods but DDIM, whose grid
        is `grids.trailing`.
    """
    steps, flow = workload.steps, schedules.flow()
    grid = (
        grids.trailing(flow, steps)
        if method == draws.DDIM
        else grids.resolved(flow, steps, resolution=resolution, norm=norm)
    )
    levels = grids.padded(grid, max(steps, LONGEST))
    rows = [slice(first, first + together) for first in range(0, len(arrays["label"]), together)]
    parts = [(levels.sigma[0] * arrays["noise"][part], arrays["label"][part]) for part in rows]
    params, draw = _program(workload.network, folder, decoder, method)
    return Way(
        lambda: [draw(params, levels, jnp.int32(steps), *part) for part in parts],
        lambda samples: {"output": np.concatenate([np.asarray(part) for part in samples])},
    )


@functools.lru_cache
def _program(network: str, folder: str, decoder: str, method: str) -> tuple[Any, Callable[..., Any]]:
    """(parameters, what draws with them, for every number of steps)."""
    workload, sampler = Workload("sample", network), draws.FIXED[method][0]
    predict, of_network = networks.pure(image_networks.build(workload)), weights.read(workload, folder)
    module, of_decoder = open_decoder(decoder) if decoder else (None, ())

    def draw(params: Any, levels: Any, steps: Any, start: Any, label: Any) -> Any:
        flow = denoiser.from_network(predict, params[0], parameterization.flow(), label)
        key, index = jax.random.key(0), jnp.arange(len(label))
        samples = sampling.sample(key, flow, sampler, levels, workload.shape, index, num_steps=steps, start=start)
        return samples if module is None else networks.pure(module, "decode")(params[1], samples)

    return (of_network, of_decoder), devices.jit(draw)


def open_decoder(folder: str) -> tuple[Any, Any]:
    """An autoencoder as diffusers saves it, with its parameters."""
    stored = files.load_folder(Path(folder))
    network = networks.Autoencoder(**diffusers_autoencoder.network_fields(stored.config))
    like = jax.eval_shape(image_coding.init(network), jax.random.key(0))
    return network, jax.tree.map(jnp.asarray, diffusers_autoencoder.params(stored.config, stored.arrays, like))


def theirs(
    workload: Workload,
    arrays: dict[str, Any],
    folder: str,
    mode: str,
    together: int,
    method: str,
    decoder: str = "",
    **_levels: float,
) -> Way:
    """The same by a scheduler of diffusers, on the levels that it chooses."""
    predict, decode = _modules(workload.network, folder, decoder, mode)
    noise = image_networks.to_torch(arrays["noise"], mode)
    parts = list(zip(noise.split(together), arrays["label"].split(together), strict=True))

    def draw(x: Any, label: Any) -> Any:
        scheduler = _scheduler(method, workload.steps)
        for t in scheduler.timesteps:
            x = scheduler.step(predict(x, t, label), t, x).prev_sample
        return decode(x)

    def run() -> Any:
        with torch.inference_mode():
            return [draw(*part) for part in parts]

    return Way(run, lambda samples: {"output": torch.cat(samples).movedim(-3, -1)})


def _scheduler(method: str, steps: int) -> Any:
    kind, settings = SCHEDULERS[method]
    scheduler = getattr(diffusers, kind)(**settings)
    if method == next(iter(SCHEDULERS)):
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    else:
        scheduler.set_timesteps(steps)
    return scheduler


@functools.lru_cache
def _modules(network: str, folder: str, decoder: str, mode: str) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """(the network, what is done with latents in the end) in a mode."""
    predict = image_networks.predictor(image_networks.opened(Workload("sample", network), folder).eval(), mode)
    if not decoder:
        return predict, lambda latents: latents
    module = diffusers.AutoencoderKL.from_pretrained(decoder, low_cpu_mem_usage=False).eval()
    config, layout = module.config, image_networks.layout(mode)
    decode = image_networks.laid_out(module.to(memory_format=layout).decode, mode)
    mean, std = torch.zeros(1), torch.ones(1)
    if config.latents_mean is not None:
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
    return predict, lambda latents: decode(latents * std / config.scaling_factor + mean).sample
