"""A U-Net and a DiT: sampling by DDIM, a sweep over guidance and steps, and a training step, ours beside diffusers.

"sample" is a loop of DDIM on the linear 1000-step table (leading spacing, noise prediction) from a given x_T, and
"sweep" one for each of `scales` × `step_counts`, which pays for every compilation. "train" is an optimizer step of
AdamW on fresh noise and levels; what is compared is the loss and the gradient on given ones. Neither side imports what
the other needs.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import gendiff
from experiments.bench import training_steps, weights
from experiments.bench.lazily import (
    denoiser,
    devices,
    diffusers,
    dtypes,
    functional,
    grids,
    guidance,
    jax,
    jnp,
    networks,
    objectives,
    optax,
    optimizers,
    parameterization,
    program_costs,
    rules,
    samplers,
    sampling,
    schedules,
    sharding,
    torch,
    types,
    weighting,
)
from experiments.bench.workloads import Case, Way, Workload, normal


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Images channels last: where sampling begins, or what is trained on and, for the gradient, x, t and the target."""
    rng = np.random.default_rng(0)
    images, classes = (workload.batch, *workload.shape), workload.architecture.num_classes
    labels = {} if classes is None else {"label": rng.integers(0, classes, workload.batch).astype(np.int32)}
    if workload.kind != "train":
        return {"start": normal(rng, *images), **labels}
    t = rng.integers(0, 1000, workload.batch).astype(np.float32)
    return {
        "clean": np.tanh(normal(rng, *images)),
        "x": normal(rng, *images),
        "target": normal(rng, *images),
        "t": t,
        **labels,
    }


def build(workload: Workload) -> Any:
    """Our network. Training on a CPU takes the convolution whose gradients XLA:CPU runs fast."""
    module, naming, settings = weights.named(workload)
    options: dict[str, Any] = {} if workload.dtype == "float32" else {"dtype": workload.dtype}
    if workload.kind == "train" and settings["_class_name"] == "UNet2DModel" and jax.default_backend() == "cpu":
        options["convolution"] = "fast_backward"
    return module(**naming.network_fields(settings), **options)


def init(workload: Workload, key: Any) -> Any:
    """Its parameters."""
    return networks.init(build(workload), key, *example(workload))


def example(workload: Workload) -> tuple[Any, ...]:
    """(x, t, *condition) of one image, of which shapes alone matter."""
    label = np.zeros(1, np.int32)
    return np.zeros((1, *workload.shape), np.float32), np.zeros(1, np.float32), *_condition(workload, label)


def flops(workload: Workload) -> float:
    """Of the network's work by XLA's cost analysis before it optimises: forward, and for training backward as well,
    without the optimizer.

    A training step is counted with the plain convolution, and attention at once, whatever runs: XLA counts the body of
    a loop once.
    """
    network = build(workload).clone(attention_implementation="heads_first")
    network = network.clone(convolution="direct") if isinstance(network, networks.UNet) else network
    x, t, label = (
        jnp.zeros((workload.batch, *workload.shape)),
        jnp.zeros(workload.batch),
        jnp.zeros(workload.batch, jnp.int32),
    )
    error = _error(workload, network, {"x": x, "t": t, "target": 0.0, "label": label})
    function: Any = jax.value_and_grad(error) if workload.kind == "train" else error
    return workload.calls * program_costs.flops(jax.jit(function).lower(weights.shapes(workload)))


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """DDIM from given["start"], or a step on given["clean"]. What it answers is the pictures, or the loss and the
    gradient.
    """
    network, params = build(workload), weights.read(workload, folder)
    if jax.device_count() > 1:
        mesh = sharding.mesh()
        params, arrays = sharding.replicate(params, mesh), sharding.shard(arrays, mesh)
    if workload.kind == "train":
        return Way(_trained(workload, network, params, arrays), lambda _: _gradient(workload, network, arrays, folder))
    return Way(_sampled(workload, network, params, arrays))


def _sampled(workload: Workload, network: Any, params: Any, arrays: dict[str, Any]) -> Callable[[], Any]:
    def draw(params: Any, start: Any, label: Any, scale: Any, levels: Any, num_steps: Any) -> Any:
        condition = _condition(workload, label)
        denoise: Any = denoiser.from_network(networks.pure(network), params, parameterization.noise(), *condition)
        if workload.guidance is not None or workload.scales:
            denoise = guidance.classifier_free(
                denoise, denoise.with_condition(gendiff.NO_LABEL), scale, batched=workload.passes == "batched"
            )
        index, shape = jnp.arange(workload.batch), workload.shape
        return sampling.sample(
            jax.random.key(0), denoise, samplers.ddim(), levels, shape, index, num_steps=num_steps, start=start
        )

    process, fixed = schedules.linear(1000), (params, arrays["start"], arrays.get("label"))
    if workload.kind == "sample":
        scale = jnp.float32(1.0 if workload.guidance is None else workload.guidance)
        arguments = *fixed, scale, grids.leading(process, workload.steps), None
        return functools.partial(devices.compiled(devices.jit(draw), *arguments), *arguments)
    longest = max(workload.step_counts)
    levels = {steps: grids.padded(grids.leading(process, steps), longest) for steps in workload.step_counts}

    def sweep() -> Any:
        jax.clear_caches()
        one = functools.partial(devices.jit(draw), *fixed)  # one program, whose compilation is part of the work
        return jnp.stack([one(jnp.float32(scale), levels[steps], jnp.int32(steps)) for scale, steps in workload.loops])

    return sweep


def _trained(workload: Workload, network: Any, params: Any, arrays: dict[str, Any]) -> Callable[[], Any]:
    predict, flow = networks.pure(network), workload.objective == "flow"
    if flow:  # as experiments.diffusion.digits trains
        path, target = schedules.flow(), parameterization.flow()
        loss = objectives.denoising(predict, path, target, levels=weighting.stratified_levels(), drop_condition=0.1)
        optimizer = optimizers.adamw(2e-3, warmup=100, total=1600, weight_decay=0.01, clip=1.0)
    else:
        loss = objectives.denoising(predict, schedules.linear(1000), parameterization.noise(), drop_condition=0.1)
        optimizer = optimizers.FiniteUpdates(*optax.adamw(1e-4, weight_decay=0.01))
    batch = types.Batch(clean=arrays["clean"], condition=_condition(workload, arrays.get("label")))
    return training_steps.ours(loss, params, batch, optimizer, (0.99,) if flow else ())


def _gradient(workload: Workload, network: Any, arrays: dict[str, Any], folder: str) -> dict[str, Any]:
    """The loss, and the gradient by names of diffusers."""
    loss, gradient = devices.jit(jax.value_and_grad(_error(workload, network, arrays)))(weights.read(workload, folder))
    _, naming, settings = weights.named(workload)
    return {"loss": loss, **rules.to_theirs(gradient, naming.rules(settings))}


def _error(workload: Workload, network: Any, arrays: dict[str, Any]) -> Callable[[Any], Any]:
    """Parameters -> the mean squared error of network(x, t, label) against the target."""
    predict, condition = networks.pure(network), _condition(workload, arrays.get("label"))
    return lambda params: jnp.mean(jnp.square(predict(params, arrays["x"], arrays["t"], *condition) - arrays["target"]))


def _condition(workload: Workload, labels: Any) -> tuple[Any, ...]:
    """The condition of the network: (labels,), or () where it has no classes."""
    return () if workload.architecture.num_classes is None else (labels,)


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The same by diffusers in the mode "eager", "channels_last" or "compiled"."""
    module = opened(workload, folder)
    if workload.kind == "train":
        return Way(
            _trained_by_torch(workload, module, arrays, mode),
            lambda _: _gradient_by_torch(opened(workload, folder), arrays),
        )
    start, predict = to_torch(arrays["start"], mode), predictor(module.eval(), mode)

    def sample() -> Any:
        nonlocal predict
        if workload.kind == "sweep" and mode == "compiled":  # its compilation is part of the work
            torch.compiler.reset()
            predict = predictor(module, mode)
        with torch.inference_mode(), precision(workload, start):
            samples = [
                _ddim(workload, predict, start, arrays.get("label"), scale, steps) for scale, steps in workload.loops
            ]
        return torch.stack(samples) if workload.kind == "sweep" else samples[0]

    return Way(sample, lambda samples: {"output": samples.movedim(-3, -1)})


def _ddim(workload: Workload, predict: Any, x: Any, label: Any, scale: float | None, steps: int) -> Any:
    scheduler = diffusers.DDIMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False)
    scheduler.set_timesteps(steps)
    null = None if scale is None else torch.full_like(label, workload.architecture.num_classes)
    for t in scheduler.timesteps:
        if scale is None:
            noise = predict(x, t, label)
        elif workload.passes == "batched":
            with_label, free = predict(torch.cat([x, x]), t, torch.cat([label, null])).chunk(2)
            noise = torch.lerp(free, with_label, scale)
        else:
            noise = torch.lerp(predict(x, t, null), predict(x, t, label), scale)
        x = scheduler.step(noise.to(x.dtype), t, x).prev_sample
    return x


def _trained_by_torch(workload: Workload, module: Any, arrays: dict[str, Any], mode: str) -> Callable[[], Any]:
    clean, label, predict = to_torch(arrays["clean"], mode), arrays.get("label"), predictor(module.train(), mode)
    flow, parameters = workload.objective == "flow", list(module.parameters())
    average = [value.detach().clone() for value in parameters] if flow else []
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(clean.device)

    def loss() -> Any:
        noise = torch.randn_like(clean)
        if flow:
            u = torch.rand(len(clean), device=clean.device)
            alpha, sigma, t, target = 1 - u, u, 1000 * u, noise - clean
        else:
            t = torch.randint(1000, (len(clean),), device=clean.device)
            alpha, sigma, target = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt(), noise
        x, labels = alpha[:, None, None, None] * clean + sigma[:, None, None, None] * noise, label
        if label is not None and workload.architecture.kind == "UNet2DModel":  # the DiT drops labels by itself
            labels = torch.where(
                torch.rand(len(clean), device=clean.device) < 0.1, workload.architecture.num_classes, label
            )
        with precision(workload, clean):
            return functional.mse_loss(predict(x, t, labels).float(), target)

    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)
    step = training_steps.theirs(loss, optimizer, parameters if flow else ())

    def run() -> Any:
        done = step()
        if flow:
            torch._foreach_lerp_(average, [value.detach() for value in parameters], 0.01)
        return done

    return run


def _gradient_by_torch(module: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    # no label is dropped
    output = predictor(module.eval(), "eager")(to_torch(arrays["x"]), arrays["t"], arrays.get("label"))
    loss = functional.mse_loss(output, to_torch(arrays["target"]))
    loss.backward()
    fixed = module.named_parameters(remove_duplicate=False)
    return {"loss": loss.detach(), **{name: value.grad for name, value in fixed if value.grad is not None}}


def opened(workload: Workload, folder: str) -> Any:
    """The network of diffusers with the weights of a folder, on the device of the bench."""
    module = getattr(diffusers, workload.architecture.kind).from_pretrained(folder, low_cpu_mem_usage=False)
    # diffusers has an embedder per block, where the paper has one for all; sharing it is less work for the peer, never
    # more
    for each in getattr(module, "transformer_blocks", ()):
        each.norm1.emb = module.transformer_blocks[0].norm1.emb
    return module.to(os.environ.get("BENCH_DEVICE", "cpu"))


def predictor(module: Any, mode: str) -> Callable[..., Any]:
    """A diffusers network behind one signature: (x, t () or (b,), label (b,) or None) -> prediction."""
    forward = laid_out(module, mode)
    return lambda x, t, label: forward(x, timestep=t.expand(len(x)).to(x.device), class_labels=label).sample


def laid_out(module: Any, mode: str) -> Any:
    """The module or function in a mode. What it computes stays the same."""
    if mode == "compiled":
        return torch.compile(module)
    return module.to(memory_format=layout(mode)) if isinstance(module, torch.nn.Module) else module


def to_torch(x: Any, mode: str = "eager") -> Any:
    """(b, h, w, c) as torch wants them, contiguous in the mode's layout."""
    return x.permute(0, 3, 1, 2).contiguous(memory_format=layout(mode))


def layout(mode: str) -> Any:
    """The memory format of a mode."""
    return torch.channels_last if mode == "channels_last" else torch.contiguous_format


def precision(workload: Workload, x: Any) -> Any:
    """A context in which torch computes in the workload's dtype."""
    return torch.autocast(x.device.type, torch.bfloat16, enabled=workload.dtype == "bfloat16")


def halves_are_slow() -> str:
    """Why bfloat16 is not measured here; empty where the processor is made for it."""
    suited = dtypes.suited()
    return "" if suited.dtype == "bfloat16" else suited.reason


def half(kind: str, network: str, batch: int, steps: int = 1) -> Workload:
    """A work in bfloat16."""
    return Workload(kind, network, batch=batch, steps=steps, dtype="bfloat16")


UNET, DIT = Workload("sample", "unet32", batch=16, steps=2), Workload("sample", "dit_s2", batch=8, steps=2)
UNET_STEP, DIT_STEP = Workload("train", "unet32", batch=16), Workload("train", "dit_s2", batch=8)
BY_DIGITS = Workload("sample", "digits", batch=16, steps=50)
FLOW = Workload("train", "digits", batch=16, objective="flow")
SWEEP = Workload(
    "sweep", "digits", batch=64, scales=(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), step_counts=(4, 6, 8, 12)
)
SAMPLING = {"AMD": "unet_sampling_amd", "Intel": "unet_sampling_intel"}
TRAINING = {"AMD": "unet_training_amd", "Intel": "training_intel"}
DIT_TRAINING = TRAINING | {"AMD": "dit_training_amd"}
GPU: dict[str, Any] = {"threshold": "gpu", "memory": True, "device": "gpu"}
SLOW: dict[str, Any] = {"threshold": "bfloat16", "absent": halves_are_slow}
CASES = (
    Case(
        "unet32_sample",
        "U-Net 32×32 of 6.5 M parameters, batch 16, DDIM",
        UNET,
        "sampling",
        memory=True,
        by_vendor=SAMPLING,
    ),
    Case("unet32_train", "the same, training step", UNET_STEP, "training", memory=True, by_vendor=TRAINING),
    Case("dit_sample", "DiT-S/2, 256 tokens, batch 8, DDIM", DIT, "sampling", "matmul_share", memory=True),
    Case("dit_train", "the same, training step", DIT_STEP, "training", memory=True, by_vendor=DIT_TRAINING),
    Case("unet32_sample_bfloat16", "sampling with the U-Net in bfloat16", half("sample", "unet32", 16, 2), **SLOW),
    Case("dit_sample_bfloat16", "sampling with DiT-S/2 in bfloat16", half("sample", "dit_s2", 8, 2), **SLOW),
    Case("digits_sample_16", "the network of the digits demo, batch 16, DDIM in 50 steps", BY_DIGITS, "digits"),
    Case("digits_train_16", "the demo's training step at batch 16", FLOW, "digits"),
    Case(
        "sweep",
        "8 guidance scales × 4 step counts, digits network, batch 64, compilation included",
        SWEEP,
        "sweep",
        pairs=3,
    ),
    Case("gpu_unet_sample", "U-Net 32×32, batch 128, DDIM, bfloat16", half("sample", "unet32", 128, 50), **GPU),
    Case("gpu_unet_train", "the same, training step at batch 256", half("train", "unet32", 256), **GPU),
    Case("gpu_dit_sample", "DiT-XL/2, batch 32, DDIM, bfloat16", half("sample", "dit_xl2", 32, 20), **GPU),
    Case(
        "gpu_dit_train",
        "DiT-XL/2, training step at batch 64, bfloat16",
        half("train", "dit_xl2", 64),
        share="utilisation",
        **GPU,
    ),
)
