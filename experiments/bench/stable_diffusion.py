"""Folders of Stable Diffusion: each part and whole draws, ours beside diffusers, with equal steps, levels and reading
of prompts.

part: "load" reads all weights; "text", the encoders; "encode" and "decode", the halves of the autoencoder; "step", the
U-Net once, with the latents of both halves of guidance; "draw", a whole picture. Parts are read when a work needs them,
once.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.lazily import devices, diffusers, jax, jnp, networks, stable_diffusion, torch
from experiments.bench.stable_diffusion_folders import FOLDERS
from experiments.bench.workloads import Way, Workload, normal

PROMPT, NEGATIVE = "a photo of an astronaut riding a horse", "blurry, low quality"


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Of all parts, channels last: latents to begin from, a picture, and what the U-Net is given."""
    about, rng = FOLDERS[workload.network], np.random.default_rng(0)
    tokens, channels = about.text
    shapes = {
        "start": (1, *about.latent),
        "picture": (1, about.size, about.size, 3),
        "x": (2, *about.latent),
        "tokens": (2, tokens, channels),
    }
    return {name: normal(rng, *shape) for name, shape in shapes.items()} | {"t": np.array([37, 981], np.float32)}


def ours(workload: Workload, given: dict[str, Any], place: str, part: str, mode: str = "") -> Way:
    """A part, compiled; ours has one mode."""
    devices.give_back_memory()
    model = _model(place, workload.dtype)
    read, dtype = functools.partial(_params, place, workload.dtype), jnp.dtype(workload.dtype)
    jit = functools.partial(devices.jit, libraries=devices.libraries_suit(workload.dtype))
    if part == "load":
        return Way(lambda: [read(name) for name in model.parts])
    if part == "text":
        pipeline, prompt = model.pipeline(1), model.prompt(PROMPT)
        towers = {name: read(name) for name in pipeline.towers.names}
        return Way(
            functools.partial(jit(lambda towers, prompt: pipeline.towers(towers, prompt).tokens), towers, prompt)
        )
    if part == "encode":
        encode = networks.pure(model.autoencoder, "encode")
        return Way(
            functools.partial(devices.jit(lambda params, x: encode(params, x).mode()), read("vae"), given["picture"])
        )
    if part == "decode":
        return Way(
            functools.partial(devices.jit(networks.pure(model.autoencoder, "decode")), read("vae"), given["start"])
        )
    if part == "step":
        text = networks.Text(given["tokens"].astype(dtype), jnp.ones(given["tokens"].shape[:2], bool))
        every: Any = read(model.network_name), given["x"].astype(dtype), given["t"], text
        return Way(functools.partial(devices.compiled(jit(networks.pure(model.network)), *every), *every))
    pipeline, prompt, negative = model.pipeline(workload.steps), model.prompt(PROMPT), None
    if workload.guidance is not None:
        prompt, negative = stable_diffusion.aligned(prompt, model.negative(NEGATIVE))

    def draw(params: Any, prompt: Any, negative: Any, scale: Any, start: Any) -> Any:
        pictures = pipeline(params, jax.random.key(0), prompt, negative, scale, jnp.arange(1), start=start)
        return jnp.clip((pictures + 1) / 2, 0, 1)

    params = stable_diffusion.arranged({name: read(name) for name in model.parts})
    every = params, prompt, negative, jnp.float32(workload.guidance or 1.0), given["start"]
    return Way(functools.partial(devices.compiled(jit(draw), *every), *every))


@functools.cache
def _model(place: str, dtype: str) -> Any:
    return stable_diffusion.open_model(place, dtype=dtype, like_diffusers=True)


@functools.cache
def _params(place: str, dtype: str, name: str) -> Any:
    params = jax.tree.map(jnp.asarray, _model(place, dtype).part_params(name))
    devices.give_back_memory()
    return params


def theirs(workload: Workload, given: dict[str, Any], place: str, mode: str, part: str) -> Way:
    """The same by diffusers; modes beside "eager" are those of a step."""
    dtype = getattr(torch, workload.dtype)
    given = {name: value.to(dtype) for name, value in given.items()}
    images = {name: value.movedim(-1, -3).contiguous() for name, value in given.items() if value.ndim == 4}
    work: Any
    read: Any = functools.partial(_module, workload.network, place, dtype)
    if part == "load":
        return Way(functools.partial(read, "pipeline"))
    if part == "text":
        work = functools.partial(read("pipeline").encode_prompt, PROMPT, "cpu", 1, False)
        return Way(_without_gradients(lambda: work()[0]))
    if part in ("encode", "decode"):
        vae = read("vae")
        scale = vae.config.scaling_factor
        encode, decode = (
            lambda: vae.encode(images["picture"]).latent_dist.mode() * scale,
            lambda: vae.decode(images["start"] / scale).sample,
        )
        work = encode if part == "encode" else decode
    elif part == "step":
        network, x = read("unet"), images["x"]
        if mode == "channels_last":
            network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        call = torch.compile(network) if mode == "compiled" else network
        work = lambda: call(x, given["t"], given["tokens"]).sample  # noqa: E731
    else:
        pipe, size, scale = read("pipeline"), FOLDERS[workload.network].size, workload.guidance or 1.0
        texts: dict[str, Any] = {"prompt": PROMPT} | ({"negative_prompt": NEGATIVE} if scale != 1 else {})
        options = {
            "height": size,
            "width": size,
            "num_inference_steps": workload.steps,
            "guidance_scale": scale,
            "output_type": "pt",
        }
        work = lambda: pipe(**texts, latents=images["start"], **options).images  # noqa: E731
    return Way(_without_gradients(work), lambda drawn: {"output": drawn.movedim(-3, -1)})


def _without_gradients(work: Any) -> Any:
    def run() -> Any:
        with torch.inference_mode():
            return work()

    return run


@functools.cache
def _module(network: str, place: str, dtype: Any, part: str) -> Any:
    """Of diffusers, or the pipeline of all."""
    if part == "pipeline":
        pipe = getattr(diffusers, FOLDERS[network].pipeline).from_pretrained(place, torch_dtype=dtype)
        pipe.set_progress_bar_config(disable=True)
        return pipe
    kind = getattr(diffusers, FOLDERS[network].parts[part]["_class_name"])
    return kind.from_pretrained(Path(place) / part, torch_dtype=dtype).eval()
