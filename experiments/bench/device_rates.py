"""What an accelerator reaches with networks of full size, in bfloat16 and with random weights: ours alone.

"device_evaluation" calls a network once, with weights in bfloat16; "device_training" is a step of AdamW, with
parameters in float32; "device_writing" goes on with texts, the likeliest token each time. Operations are counted by the
formulas of `accounting` and `cost`, and bytes once for everything that a program reads and writes at least.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.bench import image_networks, smollm2
from experiments.bench.folder_settings import FOLDERS
from experiments.bench.lazily import (
    accelerators,
    accounting,
    cost,
    jax,
    jnp,
    language,
    networks,
    objectives,
    optax,
    parameterization,
    processors,
    program_costs,
    schedules,
    this_machine,
    training,
    types,
)
from experiments.bench.random_folders import build
from experiments.bench.workloads import Workload

FLUX: dict[str, Any] = {"_class_name": "FluxTransformer2DModel", "in_channels": 64, "guidance_embeds": True}
FLUX |= {"num_attention_heads": 24, "attention_head_dim": 128, "axes_dims_rope": (16, 56, 56)}
FLUX |= {"joint_attention_dim": 4096, "pooled_projection_dim": 768}
TINY: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 16, "axes_dims_rope": (4, 6, 6)}
PARTS: Mapping[str, dict[str, Any]] = {
    **{name: folder.parts["unet"] for name, folder in FOLDERS.items() if "unet" in folder.parts},
    "flux_blocks": FLUX | {"num_layers": 2, "num_single_layers": 4},  # of 19 and 38
    "tiny_flux": FLUX | TINY | {"in_channels": 16, "joint_attention_dim": 8, "num_layers": 1, "num_single_layers": 1},
}
"""Networks that read a text, as settings of diffusers; `size` is the side of the latents, `tokens` the text's."""
PRODUCT = {"cpu": 256}
"""Side of the square matrices that tell the rates of a device that is not published."""
LARGE_PRODUCT = 8192


@dataclasses.dataclass(frozen=True)
class Program:
    """What is timed.

    flops: of one call. moved: bytes that it reads and writes at least. carries: whether the first of its results is
    the first argument of the next call, which it may overwrite.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    flops: float
    moved: float
    carries: bool = False


def measured(workload: Workload, rounds: int, seconds: float) -> dict[str, Any]:
    """Seconds of one call in each round, which takes `seconds` at least, those of compiling, and what a call takes.

    Calls of a round are enqueued behind each other, so that the device need not wait for this process.
    """
    program, device = MAKERS[workload.kind](workload), jax.devices()[0]
    begin = time.perf_counter()
    jitted = jax.jit(program.function, donate_argnums=(0,) if program.carries else ())
    compiled = jitted.lower(*program.arguments).compile()
    compilation, arguments = time.perf_counter() - begin, program.arguments

    def spent(repeats: int) -> float:
        nonlocal arguments
        start = time.perf_counter()
        for _ in range(repeats):
            result = compiled(*arguments)
            arguments = (result[0], *arguments[1:]) if program.carries else arguments
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / repeats

    spent(1)
    repeats = max(1, math.ceil(seconds / spent(1)))
    times = [spent(repeats) for _ in range(rounds)]
    return {
        "seconds": times,
        "compilation": compilation,
        "flops": program.flops,
        "moved": program.moved,
        # of a loop XLA counts the body once
        "xla_moved": None if workload.kind == "device_writing" else program_costs.moved_bytes(compiled),
        "peak": (device.memory_stats() or {}).get("peak_bytes_in_use"),
        "device": dataclasses.asdict(_rates_of(device)),
    }


def inputs(workload: Workload, example: tuple[Any, ...]) -> tuple[Any, ...]:
    """(x, t, *condition) like an example of one, for the whole batch, at its size and with its number of tokens."""
    rng, (x, *others) = np.random.default_rng(0), example
    if workload.network in PARTS:
        x = np.zeros((1, workload.size, workload.size, x.shape[-1]), np.float32)
    others = [
        dataclasses.replace(
            each, tokens=np.repeat(each.tokens, workload.tokens, 1), mask=np.repeat(each.mask, workload.tokens, 1)
        )
        if isinstance(each, networks.Text)
        else each
        for each in others
    ]

    def one(leaf: np.ndarray) -> Any:
        leaf = np.repeat(leaf, workload.batch, 0)
        if leaf.dtype.kind == "f":
            leaf = np.full_like(leaf, 500.0) if leaf.ndim == 1 else rng.normal(size=leaf.shape).astype(leaf.dtype)
        return jnp.asarray(leaf)

    return tuple(jax.tree.map(one, (x, *others)))


def random_params(network: Any, example: tuple[Any, ...], dtype: str) -> Any:
    """Random parameters. They repeat after 65,537 numbers, whose generation and compilation would take minutes
    otherwise.
    """
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *example))
    numbers = (0.02 * np.random.default_rng(0).normal(size=65_537)).astype(jnp.dtype(dtype))
    return jax.tree.map(lambda leaf: jax.device_put(np.resize(numbers, leaf.shape)), like)


def _network(workload: Workload) -> tuple[Any, tuple[Any, ...]]:
    """The network and its inputs."""
    if workload.network in PARTS:
        network, example = build(PARTS[workload.network], dtype=workload.dtype)
    else:
        network, example = image_networks.build(workload), image_networks.example(workload)
    return network, inputs(workload, example)


def _evaluation(workload: Workload) -> Program:
    network, data = _network(workload)
    params, function = random_params(network, data, workload.dtype), networks.pure(network)
    counted = accounting.count(network, *data, embeddings=True, params=params)
    return Program(function, (params, *data), counted.forward_flops, _moved(function, params, *data))


def _training(workload: Workload) -> Program:
    network, (x, t, *condition) = _network(workload)
    params, optimizer = random_params(network, (x, t, *condition), "float32"), optax.adamw(1e-4)
    loss = objectives.denoising(networks.pure(network), schedules.linear(1000), parameterization.noise())
    step, batch = training.make_step(loss, optimizer), types.Batch(clean=x, condition=tuple(condition))
    state = training.start(params, optimizer, jax.random.key(0), ())
    counted = accounting.count(network, x, t, *condition, embeddings=True, params=params)
    return Program(step, (state, batch), counted.training_flops, _moved(step, state, batch), carries=True)


def _writing(workload: Workload) -> Program:
    network, size, steps = smollm2.build(workload), smollm2.size_of(workload), workload.steps
    ids, index = jnp.asarray(smollm2.inputs(workload)["ids"]), jnp.arange(workload.batch)
    params = random_params(network, (ids,), workload.dtype)

    def write(params: Any, ids: Any) -> Any:
        model = language.from_network(networks.pure(network), params)
        cache = language.cache.full(network, workload.batch, workload.tokens + steps, workload.dtype)
        greedy = processors.temperature(0.0)
        key = jax.random.key(0)
        return language.generate(key, model, cache, ids, index, max_tokens=steps, processor=greedy).tokens

    # each pass reads all weights, and but for the first the keys and values of all tokens before
    context = workload.batch * size.cache_bytes(workload.tokens + steps / 2)
    moved = steps * cost.weight_bytes(size.parameters) + (steps - 1) * context
    return Program(write, (params, ids), smollm2.flops(workload), moved)


def _moved(function: Callable[..., Any], *arguments: Any) -> float:
    """Bytes of the arguments and the results."""
    leaves = jax.tree.leaves((arguments, jax.eval_shape(function, *arguments)))
    return float(sum(leaf.size * leaf.dtype.itemsize for leaf in leaves))


def _rates_of(device: Any) -> Any:
    """The published rates of a device, or those measured now."""
    published = accelerators.of_kind(device.device_kind)
    if published is not None:
        return published
    side = PRODUCT.get(device.platform, LARGE_PRODUCT)
    return dataclasses.replace(this_machine.measured("bfloat16", side), name=device.device_kind)


MAKERS: Mapping[str, Callable[[Workload], Program]] = {
    "device_evaluation": _evaluation,
    "device_training": _training,
    "device_writing": _writing,
}
