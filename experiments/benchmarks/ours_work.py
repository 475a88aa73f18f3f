"""The workloads with gendiff: each builder answers a function that does the work once, and what XLA counts of it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import networks as sized
from experiments.benchmarks.workloads import Workload
from experiments.framework import devices
from gendiff import networks, training
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import denoiser, grids, guidance, objectives, parameterization, samplers, sampling, schedules, weighting
from gendiff.diffusion.types import Batch, Level
from gendiff.networks import attention, convolution
from gendiff.networks.blocks import ResidualBlock
from gendiff.training import optimizers

Arrays = Mapping[str, jax.Array]
Work = Callable[[], Any]


def sampler(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """DDIM from arrays["start"], compiled."""
    draw = jax.jit(functools.partial(_draw, workload, network), compiler_options=devices.compiler_options())
    given = (params, arrays["start"], arrays.get("label"), _scale(workload), _levels(workload.steps), None)
    draw = devices.compiled(draw, *given)
    return lambda: draw(*given)


def sweep(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """Every scale at every number of steps with one compiled function, whose compilation is part of the work."""
    longest = max(workload.step_counts)
    levels = {steps: grids.padded(_levels(steps), longest) for steps in workload.step_counts}

    def work() -> jax.Array:
        jax.clear_caches()
        draw = jax.jit(functools.partial(_draw, workload, network), compiler_options=devices.compiler_options())
        drawn = [
            draw(params, arrays["start"], arrays["label"], jnp.float32(scale), levels[steps], jnp.int32(steps))
            for scale in workload.scales
            for steps in workload.step_counts
        ]
        return jnp.stack(drawn)

    return work


def trainer(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """An optimizer step on arrays["clean"]; the answer is the loss. The state is donated, so the parameters are copied first."""
    loss, optimizer = _loss(workload, network), _optimizer(workload)
    decays = (0.99,) if workload.objective == "flow" else ()
    step = jax.jit(training.make_step(loss, optimizer), donate_argnums=0, compiler_options=devices.compiler_options())
    held = [training.start(params, optimizer, jax.random.key(0), decays)]
    batch = Batch(clean=arrays["clean"], condition=sized.labels_of(workload, arrays.get("label")))
    step = devices.compiled(step, held[0], batch)

    def work() -> jax.Array:
        held[0], metrics = step(held[0], batch)
        return metrics["loss"]

    return work


def gradient(workload: Workload, network: Any, params: Params, arrays: Arrays) -> tuple[jax.Array, Params]:
    """(mean squared error of network(x, t, label) against arrays["target"], its gradient by the parameters)."""
    predict = networks.pure(network)

    def error(params: Params) -> jax.Array:
        output = predict(params, arrays["x"], arrays["t"], *sized.labels_of(workload, arrays.get("label")))
        return jnp.mean(jnp.square(output - arrays["target"]))

    return jax.jit(jax.value_and_grad(error), compiler_options=devices.compiler_options())(params)


def block(workload: Workload, arrays: Arrays) -> tuple[Any, Work]:
    """(its function of (x, embedding), the work). A block without an embedding gets one number that its weights ignore."""
    module = ResidualBlock(workload.channels, 32, "shift")
    embedding = arrays["embedding"] if workload.embedding else jnp.zeros((workload.batch, 1))
    embedding = jax.nn.silu(embedding)  # theirs begins with it; ours does it once for all blocks
    params = jax.tree.map(jnp.asarray, block_parameters(workload, arrays))
    call = jax.jit(lambda params, x, embedding: module.apply({"params": params}, x, embedding), compiler_options=devices.compiler_options())
    return call, lambda: call(params, arrays["x"], embedding)


def block_parameters(workload: Workload, arrays: Arrays) -> dict[str, dict[str, Any]]:
    """Parameters of `ResidualBlock` from a peer's block, whose arrays are named "weights/…"."""
    taken: dict[str, Any] = {name.removeprefix("weights/"): value for name, value in arrays.items() if name.startswith("weights/")}
    if "time_emb_proj.weight" not in taken:
        taken["time_emb_proj.weight"], taken["time_emb_proj.bias"] = np.zeros((workload.channels, 1)), np.zeros((workload.channels,))
    return {
        "norm_0": {"scale": taken["norm1.weight"], "bias": taken["norm1.bias"]},
        "convolution_0": {"kernel": taken["conv1.weight"].transpose(2, 3, 1, 0), "bias": taken["conv1.bias"]},
        "embedding": {"kernel": taken["time_emb_proj.weight"].T, "bias": taken["time_emb_proj.bias"]},
        "norm_1": {"scale": taken["norm2.weight"], "bias": taken["norm2.bias"]},
        "convolution_1": {"kernel": taken["conv2.weight"].transpose(2, 3, 1, 0), "bias": taken["conv2.bias"]},
    }


def operation(workload: Workload, arrays: Arrays) -> Work:
    """attention, convolution or matmul alone."""
    calls: dict[str, tuple[Callable[..., jax.Array], tuple[str, ...]]] = {
        "attention": (attention.attend, ("query", "key", "value")),
        "convolution": (convolution.convolve, ("x", "kernel")),
        "matmul": (jnp.matmul, ("x", "x")),
    }
    function, names = calls[workload.kind]
    call = jax.jit(function, compiler_options=devices.compiler_options())
    given = tuple(arrays[name] for name in names)
    return lambda: call(*given)


def operations_counted(workload: Workload, network: Any, params: Params) -> float:
    """FLOPs of the network's work on one batch by XLA's cost analysis before it optimises: forward, and for training backward as well.

    A training step is counted with the plain convolution, whatever runs.
    """
    predict = networks.pure(network.clone(convolution="direct") if hasattr(network, "convolution") else network)
    x, t = jnp.zeros((workload.batch, *workload.shape)), jnp.zeros((workload.batch,))
    condition = sized.labels_of(workload, jnp.zeros((workload.batch,), jnp.int32))

    def error(params: Params) -> jax.Array:
        return jnp.mean(jnp.square(predict(params, x, t, *condition)))

    function: Callable[..., Any] = jax.value_and_grad(error) if workload.kind == "train" else error
    found: Any = jax.jit(function).lower(params).cost_analysis()
    return float((found[0] if isinstance(found, list) else found or {}).get("flops", float("nan")))


def _draw(
    workload: Workload, network: Any, params: Params, start: jax.Array, label: Any, scale: Any, levels: Level, num_steps: Any
) -> jax.Array:
    condition = sized.labels_of(workload, label)
    given: Any = denoiser.from_network(networks.pure(network), params, parameterization.noise(), *condition)
    if workload.guidance is not None or workload.scales:
        given = guidance.classifier_free(given, given.with_condition(NO_LABEL), scale, batched=workload.passes == "batched")
    index = jnp.arange(workload.batch)
    return sampling.sample(jax.random.key(0), given, samplers.ddim(), levels, workload.shape, index, num_steps=num_steps, start=start)


def _levels(steps: int) -> Level:
    return grids.leading(schedules.linear(1000), steps)


def _scale(workload: Workload) -> jax.Array:
    return jnp.float32(1.0 if workload.guidance is None else workload.guidance)


def _loss(workload: Workload, network: Any) -> Any:
    predict = networks.pure(network)
    if workload.objective == "flow":  # as experiments.diffusion.digits trains
        return objectives.denoising(
            predict, schedules.flow(), parameterization.flow(), levels=weighting.stratified_levels(), drop_condition=0.1
        )
    return objectives.denoising(predict, schedules.linear(1000), parameterization.noise(), drop_condition=0.1)


def _optimizer(workload: Workload) -> optax.GradientTransformation:
    if workload.objective == "flow":
        return optimizers.adamw(2e-3, warmup=100, total=1600, weight_decay=0.01, clip=1.0)
    return optax.adamw(1e-4, weight_decay=0.01)
