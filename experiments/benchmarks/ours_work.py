"""The workloads with gendiff: each builder answers a function that does the work once, and what XLA counts of it."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from experiments.benchmarks.workloads import NETWORKS, Workload
from experiments.framework import devices, drawing
from gendiff import networks, training
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import denoiser, grids, guidance, objectives, parameterization, samplers, sampling, schedules, weighting
from gendiff.diffusion.types import Batch, Level
from gendiff.networks import attention, convolution
from gendiff.networks.blocks import ResidualBlock
from gendiff.training import optimizers
from gendiff.weights import diffusers_dit, diffusers_unet, files, rules

Arrays = Mapping[str, jax.Array]
Work = Callable[[], Any]
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""The file of a folder of weights, as diffusers calls it."""


def build(workload: Workload) -> Any:
    """The network of a workload, equal to that of diffusers. Training on a CPU takes the convolution whose gradients XLA:CPU runs fast."""
    options: dict[str, Any] = {} if workload.dtype == "float32" else {"dtype": workload.dtype}
    if workload.kind == "train" and NETWORKS[workload.network].kind == diffusers_unet.KIND and jax.default_backend() == "cpu":
        options["convolution"] = "fast_backward"
    kind, naming = _kind(workload)
    return kind(**naming.network_fields(_config(workload)), **options)


def parameters(workload: Workload, network: Any, weights: str = "") -> Params:
    """Parameters of the network: those in the folder `weights`, or fresh ones."""
    init = functools.partial(_init, workload, network)
    if not weights:
        return jax.jit(init)(jax.random.key(0))
    stored = files.load_folder(Path(weights))
    return _kind(workload)[1].params(stored.config, stored.arrays, jax.eval_shape(init, jax.random.key(0)))


def write_weights(workload: Workload, folder: Path) -> None:
    """Random weights of a network or block as diffusers saves them. No layer is zero, so that an output depends on every layer."""
    rng = np.random.default_rng(0)

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        scale = np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 10.0
        return (rng.normal(size=shape) / scale).astype(np.float32)

    folder.mkdir(parents=True)
    if workload.network:
        network = build(workload)
        like = jax.eval_shape(lambda: _init(workload, network, jax.random.key(0)))  # abstract: this process must hold no GPU memory
        arrays = rules.to_theirs(jax.tree.map(lambda leaf: drawn(leaf.shape), like), _kind(workload)[1].rules(_config(workload)))
        (folder / "config.json").write_text(json.dumps(_config(workload)), encoding="utf-8")
    else:
        arrays = rules.to_theirs(jax.tree.map(lambda leaf: drawn(leaf.shape), _block(workload)[1]), _BLOCK)
    safetensors.numpy.save_file(arrays, folder / WEIGHTS, metadata={"format": "pt"})


def sampler(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """DDIM from arrays["start"], compiled."""
    scale = jnp.float32(1.0 if workload.guidance is None else workload.guidance)
    given = (params, arrays["start"], arrays.get("label"), scale, _levels(workload.steps), None)
    draw = devices.compiled(drawing.jit(functools.partial(_draw, workload, network)), *given)
    return lambda: draw(*given)


def sweep(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """Every scale at every number of steps with one compiled function, whose compilation is part of the work."""
    longest = max(workload.step_counts)
    levels = {steps: grids.padded(_levels(steps), longest) for steps in workload.step_counts}

    def work() -> jax.Array:
        jax.clear_caches()
        draw = drawing.jit(functools.partial(_draw, workload, network))
        drawn = [
            draw(params, arrays["start"], arrays["label"], jnp.float32(scale), levels[steps], jnp.int32(steps))
            for scale in workload.scales
            for steps in workload.step_counts
        ]
        return jnp.stack(drawn)

    return work


def trainer(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """An optimizer step on arrays["clean"]; the answer is the loss. The state is donated, so the parameters are copied first."""
    predict, flow = networks.pure(network), workload.objective == "flow"
    if flow:  # as experiments.diffusion.digits trains
        process, target = schedules.flow(), parameterization.flow()
        loss = objectives.denoising(predict, process, target, levels=weighting.stratified_levels(), drop_condition=0.1)
        optimizer = optimizers.adamw(2e-3, warmup=100, total=1600, weight_decay=0.01, clip=1.0)
    else:
        loss = objectives.denoising(predict, schedules.linear(1000), parameterization.noise(), drop_condition=0.1)
        optimizer = optax.adamw(1e-4, weight_decay=0.01)
    update = training.make_step(loss, optimizer, ema_warm_up=False)  # torch averages with a constant decay as well
    held = [training.start(params, optimizer, jax.random.key(0), (0.99,) if flow else ())]
    batch = Batch(clean=arrays["clean"], condition=_condition(workload, arrays.get("label")))
    step = devices.compiled(drawing.jit(update, donate_argnums=0), held[0], batch)

    def work() -> jax.Array:
        held[0], metrics = step(held[0], batch)
        return metrics["loss"]

    return work


def gradient(workload: Workload, network: Any, params: Params, arrays: Arrays) -> tuple[jax.Array, Params]:
    """(mean squared error of network(x, t, label) against arrays["target"], its gradient by the parameters)."""
    predict = networks.pure(network)

    def error(params: Params) -> jax.Array:
        output = predict(params, arrays["x"], arrays["t"], *_condition(workload, arrays.get("label")))
        return jnp.mean(jnp.square(output - arrays["target"]))

    return drawing.jit(jax.value_and_grad(error))(params)


def block(workload: Workload, arrays: Arrays, weights: str) -> Work:
    """A residual block on arrays["x"] and arrays["embedding"], with the weights of a peer's block in the folder `weights`.

    A block without an embedding, as a decoder has it, gets one number that its weights ignore.
    """
    stored: dict[str, Any] = {
        "time_emb_proj.weight": np.zeros((workload.channels, 1), np.float32),
        "time_emb_proj.bias": np.zeros((workload.channels,), np.float32),
        **safetensors.numpy.load_file(Path(weights) / WEIGHTS),
    }
    module, like = _block(workload)
    params = rules.to_ours(stored, _BLOCK, like)
    # their block begins with this activation; ours applies it once for all blocks
    embedding = jax.nn.silu(arrays["embedding"] if workload.embedding else jnp.zeros((workload.batch, 1)))
    call = drawing.jit(lambda params, x, embedding: module.apply({"params": params}, x, embedding))
    return lambda: call(params, arrays["x"], embedding)


def operation(workload: Workload, arrays: Arrays) -> Work:
    """attention, convolution or matmul alone."""
    calls: dict[str, tuple[Callable[..., jax.Array], tuple[str, ...]]] = {
        "attention": (attention.attend, ("query", "key", "value")),
        "convolution": (convolution.convolve, ("x", "kernel")),
        "matmul": (jnp.matmul, ("x", "x")),
    }
    function, names = calls[workload.kind]
    call, given = drawing.jit(function), tuple(arrays[name] for name in names)
    return lambda: call(*given)


def operations_counted(workload: Workload, network: Any, params: Params) -> float:
    """FLOPs of the network's work on one batch by XLA's cost analysis before it optimises: forward, and for training backward as well.

    A training step is counted with the plain convolution, whatever runs.
    """
    predict = networks.pure(network.clone(convolution="direct") if isinstance(network, networks.UNet) else network)
    x, t = jnp.zeros((workload.batch, *workload.shape)), jnp.zeros((workload.batch,))
    condition = _condition(workload, jnp.zeros((workload.batch,), jnp.int32))

    def error(params: Params) -> jax.Array:
        return jnp.mean(jnp.square(predict(params, x, t, *condition)))

    function: Callable[..., Any] = jax.value_and_grad(error) if workload.kind == "train" else error
    cost: Any = jax.jit(function).lower(params).cost_analysis()
    return float((cost[0] if isinstance(cost, list) else cost or {}).get("flops", float("nan")))


_BLOCK = (
    *rules.norm("norm1", "norm_0"),
    *rules.convolution("conv1", "convolution_0"),
    *rules.linear("time_emb_proj", "embedding"),
    *rules.norm("norm2", "norm_1"),
    *rules.convolution("conv2", "convolution_1"),
)
"""From the names of a peer's residual block to ours."""


def _kind(workload: Workload) -> tuple[Any, Any]:
    """(our class, the rules for diffusers' names)."""
    unet = NETWORKS[workload.network].kind == diffusers_unet.KIND
    return (networks.UNet, diffusers_unet) if unet else (networks.DiT, diffusers_dit)


def _config(workload: Workload) -> dict[str, Any]:
    size = NETWORKS[workload.network]
    return {"_class_name": size.kind, **size.settings}


def _init(workload: Workload, network: Any, key: jax.Array) -> Params:
    label = _condition(workload, jnp.zeros((1,), jnp.int32))
    return networks.init(network, key, jnp.zeros((1, *workload.shape)), jnp.zeros((1,)), *label)


def _condition(workload: Workload, labels: Any) -> tuple[Any, ...]:
    """The condition of the network: (labels,), or () where it has no classes."""
    return () if NETWORKS[workload.network].num_classes is None else (labels,)


def _draw(
    workload: Workload, network: Any, params: Params, start: jax.Array, label: Any, scale: Any, levels: Level, num_steps: Any
) -> jax.Array:
    condition = _condition(workload, label)
    denoise: Any = denoiser.from_network(networks.pure(network), params, parameterization.noise(), *condition)
    if workload.guidance is not None or workload.scales:
        denoise = guidance.classifier_free(denoise, denoise.with_condition(NO_LABEL), scale, batched=workload.passes == "batched")
    index = jnp.arange(workload.batch)
    return sampling.sample(jax.random.key(0), denoise, samplers.ddim(), levels, workload.shape, index, num_steps=num_steps, start=start)


def _block(workload: Workload) -> tuple[ResidualBlock, Params]:
    """The residual block of Stable Diffusion's U-Net, or of its decoder without an embedding, and the shapes of its parameters."""
    module = ResidualBlock(workload.channels, 32, "shift")

    def init() -> Params:
        inputs = jnp.zeros((1, 1, 1, workload.channels)), jnp.zeros((1, max(1, workload.embedding)))
        return networks.init(module, jax.random.key(0), *inputs)

    return module, jax.eval_shape(init)


def _levels(steps: int) -> Level:
    return grids.leading(schedules.linear(1000), steps)
