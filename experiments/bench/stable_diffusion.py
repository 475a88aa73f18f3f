"""Folders of models that draw from prompts: each part and whole draws, ours beside diffusers, with equal steps, levels
and reading of prompts.

part: "load" reads all weights; "text", the encoders; "encode" and "decode", the halves of the autoencoder; "step", the
network once, a U-Net with the latents of both halves of guidance; "draw", a whole picture. Parts are read when a work
needs them, once.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.folder_settings import FOLDERS
from experiments.bench.lazily import devices, diffusers, jax, jnp, networks, stable_diffusion, torch
from experiments.bench.workloads import Way, Workload, normal

PROMPT, NEGATIVE = "a photo of an astronaut riding a horse", "blurry, low quality"


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Of all parts, channels last: latents to begin from, a picture, and what the network is given."""
    about, rng = FOLDERS[workload.network], np.random.default_rng(0)
    size, times = workload.size or about.size, (37, 981) if about.network == "unet" else (500,)
    shapes = {
        "start": (1, *about.latent(size)),
        "picture": (1, size, size, 3),
        "x": (len(times), *about.latent(size)),
        "tokens": (len(times), *about.text),
    }
    return {name: normal(rng, *shape) for name, shape in shapes.items()} | {"t": np.array(times, np.float32)}


def ours(
    workload: Workload, arrays: dict[str, Any], folder: str, part: str, mode: str = "", storage: str = "full"
) -> Way:
    """A part, compiled; ours has one mode. storage: of kernels, as `open_model` has it."""
    devices.give_back_memory()
    source = folder, workload.dtype, storage
    model, read, dtype = _model(*source), functools.partial(_params, *source), jnp.dtype(workload.dtype)
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
            functools.partial(devices.jit(lambda params, x: encode(params, x).mode()), read("vae"), arrays["picture"])
        )
    if part == "decode":
        return Way(
            functools.partial(devices.jit(networks.pure(model.autoencoder, "decode")), read("vae"), arrays["start"])
        )
    if part == "step":
        text = networks.Text(arrays["tokens"].astype(dtype), jnp.ones(arrays["tokens"].shape[:2], bool))
        fixed: Any = read(model.network_name), arrays["x"].astype(dtype), arrays["t"], text
        return Way(functools.partial(devices.compiled(jit(networks.pure(model.network)), *fixed), *fixed))
    side = workload.size or None
    pipeline, prompt = model.pipeline(workload.steps, side, side), model.prompt(PROMPT, padded=False)
    negative = None
    if workload.guidance is not None:
        prompt, negative = stable_diffusion.aligned(prompt, model.negative(NEGATIVE))

    def draw(params: Any, prompt: Any, negative: Any, scale: Any, start: Any) -> Any:
        pictures = pipeline(params, jax.random.key(0), prompt, negative, scale, jnp.arange(1), start=start)
        return jnp.clip((pictures + 1) / 2, 0, 1)

    params = stable_diffusion.arranged({name: read(name) for name in model.parts})
    fixed = params, prompt, negative, jnp.float32(workload.guidance or 1.0), arrays["start"]
    return Way(functools.partial(devices.compiled(jit(draw), *fixed), *fixed))


@functools.cache
def _model(folder: str, dtype: str, storage: str) -> Any:
    return stable_diffusion.open_model(folder, dtype=dtype, like_diffusers=True, storage=storage)


@functools.cache
def _params(folder: str, dtype: str, storage: str, name: str) -> Any:
    params = jax.tree.map(jnp.asarray, _model(folder, dtype, storage).part_params(name))
    devices.give_back_memory()
    return params


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str, part: str) -> Way:
    """The same by diffusers; modes beside "eager" are those of a step."""
    dtype = getattr(torch, workload.dtype)
    arrays = {name: value.to(dtype) for name, value in arrays.items()}
    images = {name: value.movedim(-1, -3).contiguous() for name, value in arrays.items() if value.ndim == 4}
    work: Any
    read: Any = functools.partial(_module, workload.network, folder, dtype)
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
        network, x = read(FOLDERS[workload.network].network), images["x"]
        if mode == "channels_last":
            network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        call = torch.compile(network) if mode == "compiled" else network
        step = STEPS[FOLDERS[workload.network].pipeline]
        work = functools.partial(step, call, x, arrays["t"], arrays["tokens"])
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
    return Way(_without_gradients(work), lambda images: {"output": images.movedim(-3, -1)})


def _unet(call: Any, x: Any, t: Any, tokens: Any) -> Any:
    return call(x, t, tokens).sample


def _flux_2(call: Any, x: Any, t: Any, tokens: Any) -> Any:
    pipeline, (_, _, height, width) = diffusers.Flux2KleinPipeline, x.shape
    patches = pipeline._patchify_latents(x)
    places = {"img_ids": pipeline._prepare_latent_ids(patches), "txt_ids": pipeline._prepare_text_ids(tokens)}
    packed = pipeline._pack_latents(patches)
    answer = call(hidden_states=packed, timestep=t / 1000, encoder_hidden_states=tokens, **places).sample
    return pipeline._unpatchify_latents(answer.transpose(1, 2).unflatten(2, (height // 2, width // 2)))


def _z_image(call: Any, x: Any, t: Any, tokens: Any) -> Any:
    answers = call(list(x.unsqueeze(2)), 1 - t / 1000, list(tokens), return_dict=False)[0]
    return -torch.stack(answers).squeeze(2)


STEPS = {
    **dict.fromkeys(("StableDiffusionPipeline", "StableDiffusionXLPipeline"), _unet),
    **{"Flux2KleinPipeline": _flux_2, "ZImagePipeline": _z_image},
}
"""The class of a pipeline -> how diffusers calls its network: (network, x, t, tokens) -> its answer, channels first."""


def _without_gradients(work: Any) -> Any:
    def run() -> Any:
        with torch.inference_mode():
            return work()

    return run


@functools.cache
def _module(network: str, folder: str, dtype: Any, part: str) -> Any:
    """Of diffusers, or the pipeline of all."""
    if part == "pipeline":
        pipe = getattr(diffusers, FOLDERS[network].pipeline).from_pretrained(folder, torch_dtype=dtype)
        pipe.set_progress_bar_config(disable=True)
        return pipe
    kind = getattr(diffusers, FOLDERS[network].parts[part]["_class_name"])
    return kind.from_pretrained(Path(folder) / part, torch_dtype=dtype).eval()
