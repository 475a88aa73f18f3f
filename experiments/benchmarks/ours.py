"""Our process: gendiff alone, answering `side_process`.

python -m experiments.benchmarks.ours    (started by SideProcess)

A bench of a later checkout starts this module of an earlier one (`--against`), so requests keep their names and arguments.
"""

import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from experiments.benchmarks import dcgan_work, language_work, next_token_work, ppo_work, rollout_work, video_work, workloads
from experiments.benchmarks.side_process import Side
from experiments.benchmarks.workloads import LANGUAGE, NETWORKS, TEXT_MODELS, VIDEO, Workload
from gendiff import networks, training
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import denoiser, grids, guidance, objectives, parameterization, samplers, sampling, schedules, weighting
from gendiff.diffusion.types import Batch
from gendiff.networks import attention, convolution
from gendiff.networks.blocks.residual_block import ResidualBlock
from gendiff.provenance import text_watermarks
from gendiff.runs import compile_cache, devices, program_costs
from gendiff.runs.reporting import environment
from gendiff.training import optimizers, sharding
from gendiff.weights import diffusers_autoencoder, diffusers_dit, diffusers_unet, files, rules, transformers_clip

Arrays = Mapping[str, jax.Array]
Work = Callable[[], Any]
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""The file of a folder of weights, as diffusers calls it."""
BLOCK = (
    *rules.norm("norm1", "norm_0"),
    *rules.convolution("conv1", "convolution_0"),
    *rules.linear("time_emb_proj", "embedding"),
    *rules.norm("norm2", "norm_1"),
    *rules.convolution("conv2", "convolution_1"),
)
"""From the names of a peer's residual block to ours."""
FAMILIES: dict[str, ModuleType] = {
    **dict.fromkeys(TEXT_MODELS, language_work),
    "adversarial": dcgan_work,
    **dict.fromkeys(VIDEO, video_work),
}
"""Kind of a workload -> the module that builds its network and keeps its weights; the other networks have names of diffusers."""
OWN: dict[str, ModuleType] = {
    **dict.fromkeys(LANGUAGE, language_work),
    "adversarial": dcgan_work,
    "next_token": next_token_work,
    "rollout": rollout_work,
    "ppo_step": ppo_work,
    **dict.fromkeys(VIDEO, video_work),
}
"""Kind of a workload -> the module that tells what of its result is compared (`answers`) and how many operations it takes (`flops`)."""


class OurSide(Side):
    """Any number of works, each of which keeps what made it."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: dict[str, tuple[Workload, Any, str, dict[str, jax.Array]]] = {}

    def prepare(self, workload: dict[str, Any], arrays: str, weights: str = "", name: str = "ours") -> dict[str, float]:
        """Builds the work `name` and does it once (see Side._first)."""
        wanted = workloads.from_json(workload)
        with np.load(arrays) as stored:
            given = {key: jax.device_put(stored[key]) for key in stored.files}
        begin = time.perf_counter()
        network = build(wanted)
        params = None if network is None else jax.tree.map(jnp.asarray, parameters(wanted, network, weights))
        if wanted.network and jax.device_count() > 1:
            mesh = sharding.mesh()
            params, given = sharding.replicate(params, mesh), sharding.shard(given, mesh)
        self.work[name] = WORKS[wanted.kind](wanted, network, params, given)
        if wanted.kind in OWN:
            self.answers[name] = functools.partial(OWN[wanted.kind].answers, wanted, network, given)
        elif wanted.kind == "watermark":
            before = np.asarray(given["logits"])
            self.answers[name] = lambda after: {"output": workloads.marks(before, np.asarray(after))}
        self.prepared[name] = (wanted, network, weights, given)
        del params  # a training run keeps those of its state alone
        return self._first(name, begin)

    def gradient(self, folder: str, name: str = "ours") -> dict[str, float]:
        """The loss, and the distance of the gradient from the peer's in that folder over the peer's norm, all parameters together."""
        workload, network, weights, given = self.prepared[name]
        error = _error(workload, network, given["x"], given["t"], given["target"], given.get("label"))
        loss, found = devices.jit(jax.value_and_grad(error))(parameters(workload, network, weights))
        theirs = parameters(workload, network, folder)
        apart = optax.global_norm(jax.tree.map(jnp.subtract, found, theirs))
        return {"loss": float(loss), "difference": float(apart / optax.global_norm(theirs))}

    def flops(self, name: str = "ours") -> float:
        """Of the work done once; a training step without the optimizer."""
        workload, network, weights, _ = self.prepared[name]
        if not workload.network:
            return workload.flops
        if workload.kind in OWN:
            return OWN[workload.kind].flops(workload)
        return workload.calls * operations_counted(workload, network, parameters(workload, network, weights))

    def about(self) -> dict[str, Any]:
        """Versions, devices and precision."""
        return {**environment.versions(), **environment.machine()}

    def _wait(self, result: Any) -> None:
        jax.block_until_ready(result)

    def _peak(self) -> float:
        statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
        return statistics["peak_bytes_in_use"] / 2**20 if statistics else super()._peak()


def build(workload: Workload) -> Any:
    """The network or block of a workload, equal to that of diffusers or transformers; None for an operation.

    Training on a CPU takes the convolution whose gradients XLA:CPU runs fast.
    """
    if not workload.network:
        return ResidualBlock(workload.channels, 32, "shift") if workload.kind == "block" else None
    if workload.kind in FAMILIES:
        return FAMILIES[workload.kind].build(workload)
    options: dict[str, Any] = {} if workload.dtype == "float32" else {"dtype": workload.dtype}
    module, naming = _kind(workload)
    if workload.kind == "train" and naming is diffusers_unet and jax.default_backend() == "cpu":
        options["convolution"] = "fast_backward"
    return module(**naming.network_fields(_config(workload)), **options)


def parameters(workload: Workload, network: Any, weights: str = "") -> Params:
    """Parameters of the network or block: those in the folder `weights`, or fresh ones."""
    if workload.kind in FAMILIES:
        return FAMILIES[workload.kind].parameters(workload, network, weights)
    init = functools.partial(networks.init, network)
    example: tuple[jax.Array, ...]
    if workload.kind == "text":
        example = (jnp.zeros((1, workload.tokens), jnp.int32),)
    elif workload.kind in ("encode", "decode"):
        example = (jnp.zeros((1, *workload.shape)),)
    elif workload.network:
        example = jnp.zeros((1, *workload.shape)), jnp.zeros((1,)), *_condition(workload, jnp.zeros((1,), jnp.int32))
    else:
        example = jnp.zeros((1, 1, 1, workload.channels)), jnp.zeros((1, max(1, workload.embedding)))
    if not weights:
        return jax.jit(init)(jax.random.key(0), *example)
    like = jax.eval_shape(init, jax.random.key(0), *example)
    if workload.network:
        stored = files.load_folder(Path(weights))
        return _kind(workload)[1].params(stored.config, stored.arrays, like)
    # a block without an embedding, as a decoder has it, gets one number that its weights ignore
    ignored = {"weight": np.zeros((workload.channels, 1), np.float32), "bias": np.zeros((workload.channels,), np.float32)}
    arrays: dict[str, Any] = {f"time_emb_proj.{name}": array for name, array in ignored.items()}
    return rules.to_ours(arrays | safetensors.numpy.load_file(Path(weights) / WEIGHTS), BLOCK, like)


def inputs(workload: Workload, weights: Path | None) -> dict[str, np.ndarray]:
    """Every array that either side needs: those of `workloads.arrays`, and what comes from our code or from the weights in that folder."""
    given = workloads.arrays(workload)
    if workload.kind == "rollout":
        given |= rollout_work.inputs(workload)
    elif workload.kind == "ppo_step":
        given |= ppo_work.inputs(workload, given["ids"], str(weights or ""))
    elif workload.kind == "video_rollout":
        given |= video_work.inputs(workload)
    return given


def shapes(workload: Workload) -> Params:
    """Abstract parameters, which hold no memory."""
    return jax.eval_shape(functools.partial(parameters, workload, build(workload)))


def write_weights(workload: Workload, folder: Path) -> None:
    """Weights of a network or block as diffusers or transformers saves them: random ones, but those of a language model that pip brings.

    No layer is zero, so that an output depends on every layer.
    """
    if workload.kind in FAMILIES:
        return FAMILIES[workload.kind].write_weights(workload, folder)
    rng = np.random.default_rng(0)

    def drawn(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = np.sqrt(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 10.0
        return (rng.normal(size=leaf.shape) / scale).astype(np.float32)

    save(workload, jax.tree.map(drawn, shapes(workload)), folder)


def save(workload: Workload, params: Params, folder: Path, **settings: Any) -> None:
    """Parameters of a network or block as diffusers saves them, into a new folder. settings: more of its config.json."""
    folder.mkdir(parents=True)
    names: Any = BLOCK
    if workload.network:
        told = _config(workload) | settings
        names = _kind(workload)[1].rules(told)
        (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    safetensors.numpy.save_file(rules.to_theirs(params, names), folder / WEIGHTS, metadata={"format": "pt"})


def operations_counted(workload: Workload, network: Any, params: Params) -> float:
    """FLOPs of the network's work on one batch by XLA's cost analysis before it optimises: forward, and for training backward as well.

    A training step is counted with the plain convolution, and attention at once, whatever runs: XLA counts the body of a loop once.
    """
    network = network.clone(attention_implementation="heads_first")
    if workload.kind in ALONE:
        given = {name: jnp.asarray(array) for name, array in workloads.arrays(workload).items()}
        return _flops(functools.partial(ALONE[workload.kind], network, **given), params)
    plain = network.clone(convolution="direct") if isinstance(network, networks.UNet) else network
    x, t = jnp.zeros((workload.batch, *workload.shape)), jnp.zeros((workload.batch,))
    error = _error(workload, plain, x, t, 0.0, jnp.zeros((workload.batch,), jnp.int32))
    function: Callable[..., Any] = jax.value_and_grad(error) if workload.kind == "train" else error
    return _flops(function, params)


def _flops(function: Callable[..., Any], params: Params) -> float:
    return program_costs.flops(jax.jit(function).lower(params))


def _error(workload: Workload, network: Any, x: Any, t: Any, target: Any, label: Any) -> Callable[[Params], jax.Array]:
    """Parameters -> the mean squared error of network(x, t, label) against the target."""
    predict, condition = networks.pure(network), _condition(workload, label)
    return lambda params: jnp.mean(jnp.square(predict(params, x, t, *condition) - target))


def _sampler(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """DDIM from arrays["start"], compiled."""
    levels = grids.leading(schedules.linear(1000), workload.steps)
    scale = jnp.float32(1.0 if workload.guidance is None else workload.guidance)
    given = (params, arrays["start"], arrays.get("label"), scale, levels, None)
    draw = devices.compiled(devices.jit(functools.partial(_draw, workload, network)), *given)
    return lambda: draw(*given)


def _sweep(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """Every scale at every number of steps with one compiled function, whose compilation is part of the work."""
    longest, process = max(workload.step_counts), schedules.linear(1000)
    levels = {steps: grids.padded(grids.leading(process, steps), longest) for steps in workload.step_counts}

    def work() -> jax.Array:
        jax.clear_caches()
        draw = functools.partial(devices.jit(functools.partial(_draw, workload, network)), params, arrays["start"], arrays["label"])
        return jnp.stack([draw(jnp.float32(scale), levels[steps], jnp.int32(steps)) for scale, steps in workload.loops])

    return work


def _draw(workload: Workload, network: Any, params: Params, start: Any, label: Any, scale: Any, levels: Any, num_steps: Any) -> jax.Array:
    condition = _condition(workload, label)
    denoise: Any = denoiser.from_network(networks.pure(network), params, parameterization.noise(), *condition)
    if workload.guidance is not None or workload.scales:
        denoise = guidance.classifier_free(denoise, denoise.with_condition(NO_LABEL), scale, batched=workload.passes == "batched")
    index = jnp.arange(workload.batch)
    return sampling.sample(jax.random.key(0), denoise, samplers.ddim(), levels, workload.shape, index, num_steps=num_steps, start=start)


def _trainer(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    """An optimizer step on arrays["clean"]; the answer is the loss. The state is donated, so the parameters are copied first."""
    predict, flow = networks.pure(network), workload.objective == "flow"
    if flow:  # as experiments.diffusion.digits trains
        process, target = schedules.flow(), parameterization.flow()
        loss = objectives.denoising(predict, process, target, levels=weighting.stratified_levels(), drop_condition=0.1)
        optimizer = optimizers.adamw(2e-3, warmup=100, total=1600, weight_decay=0.01, clip=1.0)
    else:
        loss = objectives.denoising(predict, schedules.linear(1000), parameterization.noise(), drop_condition=0.1)
        optimizer = optimizers.FiniteUpdates(*optax.adamw(1e-4, weight_decay=0.01))
    update = training.make_step(loss, optimizer, ema_warm_up=False)  # torch averages with a constant decay as well
    held = [training.start(params, optimizer, jax.random.key(0), (0.99,) if flow else ())]
    batch = Batch(clean=arrays["clean"], condition=_condition(workload, arrays.get("label")))
    step = devices.compiled(devices.jit(update, donate_argnums=0), held[0], batch)

    def work() -> jax.Array:
        held[0], metrics = step(held[0], batch)
        return metrics["loss"]

    return work


def _block(workload: Workload, module: Any, params: Params, arrays: Arrays) -> Work:
    # their block begins with this activation; ours applies it once for all blocks
    embedding = jax.nn.silu(arrays["embedding"] if workload.embedding else jnp.zeros((workload.batch, 1)))
    call = devices.jit(networks.pure(module))
    return lambda: call(params, arrays["x"], embedding)


def _encoded(network: Any, params: Params, x: jax.Array) -> jax.Array:
    return networks.pure(network, "encode")(params, x).mode()


def _decoded(network: Any, params: Params, x: jax.Array) -> jax.Array:
    return networks.pure(network, "decode")(params, x)


def _read(network: Any, params: Params, ids: jax.Array) -> jax.Array:
    return networks.pure(network)(params, ids).tokens


ALONE: dict[str, Callable[..., jax.Array]] = {"encode": _encoded, "decode": _decoded, "text": _read}
"""Kind of a workload that is one call of a network -> (network, parameters, arrays by name) -> its output."""


def _alone(workload: Workload, network: Any, params: Params, arrays: Arrays) -> Work:
    call = devices.jit(functools.partial(ALONE[workload.kind], network))
    return lambda: call(params, **arrays)


def _operation(function: Callable[..., jax.Array], *names: str) -> Callable[..., Work]:
    def work(workload: Workload, network: None, params: None, arrays: Arrays) -> Work:
        return functools.partial(devices.jit(function), *(arrays[name] for name in names))

    return work


def _watermark(workload: Workload, network: None, params: None, arrays: Arrays) -> Work:
    mark, length = text_watermarks.green_list(workloads.SECRET, workload.size), jnp.full((workload.batch,), workload.tokens)

    def marked(mark: Any, logits: jax.Array, ids: jax.Array) -> jax.Array:
        return mark(logits, _Text(ids, length))

    return functools.partial(jax.jit(marked), mark, arrays["logits"], arrays["ids"])


class _Text(NamedTuple):
    """What a processor of logits knows of the texts."""

    tokens: jax.Array
    length: jax.Array


WORKS: dict[str, Callable[..., Work]] = {
    "sample": _sampler,
    "sweep": _sweep,
    "train": _trainer,
    **dict.fromkeys(ALONE, _alone),
    "prefill": language_work.prefill,
    **dict.fromkeys(("generate", "reply", "lookup"), language_work.generate),
    "block": _block,
    "attention": _operation(attention.attend, "query", "key", "value"),
    "convolution": _operation(convolution.convolve, "x", "kernel"),
    "matmul": _operation(jnp.matmul, "x", "x"),
    "watermark": _watermark,
    "adversarial": dcgan_work.trainer,
    "next_token": next_token_work.trainer,
    "rollout": rollout_work.writer,
    "ppo_step": ppo_work.trainer,
    "video_rollout": video_work.roller,
    "video_train": video_work.trainer,
}
"""Kind of a workload -> (workload, network, parameters, arrays) -> the function that does it once."""


def _kind(workload: Workload) -> tuple[Any, Any]:
    """(our class, the rules for the names of diffusers or transformers)."""
    return {
        diffusers_unet.KIND: (networks.UNet, diffusers_unet),
        diffusers_autoencoder.KIND: (networks.Autoencoder, diffusers_autoencoder),
        transformers_clip.KIND: (networks.TextEncoder, transformers_clip),
    }.get(NETWORKS[workload.network].kind, (networks.DiT, diffusers_dit))


def _config(workload: Workload) -> dict[str, Any]:
    return {"_class_name": NETWORKS[workload.network].kind, **NETWORKS[workload.network].settings}


def _condition(workload: Workload, labels: Any) -> tuple[Any, ...]:
    """The condition of the network: (labels,), or () where it has no classes."""
    return () if NETWORKS[workload.network].num_classes is None else (labels,)


if __name__ == "__main__":
    compile_cache.use()
    OurSide().serve()
