"""DCGAN at 32×32: an optimizer step of a critic, then one of its generator on the same generated pictures, with given
noise.

The peer is torch, as its example has the pair. What is compared is pictures after the step, and both losses of it,
which depend on every weight and gradient.
"""

import functools
from typing import Any

import numpy as np

from experiments.bench import weights
from experiments.bench.image_networks import layout, to_torch
from experiments.bench.lazily import (
    adversarial,
    devices,
    functional,
    jax,
    jnp,
    losses,
    networks,
    optax,
    optimizers,
    program_costs,
    torch,
)
from experiments.bench.workloads import Case, Way, Workload, normal

RATE, BETAS, EPSILON = 2e-4, (0.5, 0.999), 1e-2
"""Adam's learning rate and decays (Radford et al., 2016, section 4). ε is larger than there: with 1e-8 the first step
is the sign of each gradient, so that the rounding of one near 0 moves its weight as far as any, and two right sides
differ.
"""
FIRST = 4
"""Pixels per side of the coarsest maps."""


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Pictures, and noise of the generator."""
    rng = np.random.default_rng(0)
    clean = np.tanh(normal(rng, workload.batch, *workload.shape))
    return {"clean": clean, "noise": normal(rng, workload.batch, workload.settings["noise"])}


def build(workload: Workload, convolution: str = "") -> tuple[Any, Any]:
    """(generator, critic). convolution: by default the one whose gradients this backend computes fast."""
    settings = workload.settings
    fields: dict[str, Any] = {name: settings[name] for name in ("width", "widest")}
    fields |= {"size": settings["sample_size"], "image_channels": settings["in_channels"]}
    fields["convolution"] = convolution or ("fast_backward" if jax.default_backend() == "cpu" else "direct")
    return networks.DCGANGenerator(**fields), networks.DCGANCritic(**fields)


def init(workload: Workload, key: Any) -> Any:
    """{"generator", "critic"}."""
    (generator, critic), keys = build(workload), jax.random.split(key)
    of_generator = networks.init(generator, keys[0], jnp.zeros((1, workload.settings["noise"])))
    return {"generator": of_generator, "critic": networks.init(critic, keys[1], jnp.zeros((1, *workload.shape)))}


def flops(workload: Workload) -> float:
    """Of a step by XLA's count, with plain convolutions."""
    state = jax.eval_shape(_start, weights.shapes(workload))
    clean, noise = inputs(workload).values()
    step = jax.jit(lambda state, clean, noise: _step(build(workload, "direct"), noise)(state, clean))
    return program_costs.flops(step.lower(state, clean, noise))


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """A step; the answer is (parameters of the generator, metrics)."""
    pair, held = build(workload), [_start(weights.read(workload, folder))]
    step = devices.compiled(devices.jit(_step(pair, arrays["noise"]), donate_argnums=0), held[0], arrays["clean"])
    draw = jax.jit(networks.pure(pair[0]))

    def run() -> Any:
        held[0], metrics = step(held[0], arrays["clean"])
        return held[0].params, metrics

    def answer(done: Any) -> dict[str, Any]:
        params, metrics = done
        losses = [float(metrics[name]) for name in ("loss", "generator_loss")]
        return {"output": np.append(np.asarray(draw(params, arrays["noise"])).ravel(), losses)}

    return Way(run, answer)


def _start(params: Any) -> Any:
    return adversarial.start(params["generator"], params["critic"], _adam(), _adam(), jax.random.key(0), ema=())


def _step(pair: tuple[Any, Any], noise: Any) -> Any:
    def the_same(key: Any, count: int) -> Any:
        # noise is drawn as in any training, and then replaced by what the peer has as well
        return jnp.where(jax.random.normal(key, noise.shape) > 1e9, 0.0, noise)

    generate, criticise = (networks.pure(network) for network in pair)
    return adversarial.make_step(generate, criticise, losses.non_saturating(), _adam(), _adam(), noise=the_same)


def _adam() -> Any:
    return optimizers.FiniteUpdates(*optax.adam(RATE, b1=BETAS[0], b2=BETAS[1], eps=EPSILON))


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The same step by torch; the answer is both losses."""
    clean, noise, softplus = to_torch(arrays["clean"], mode), arrays["noise"], functional.softplus
    parts: dict[str, dict[str, Any]] = {"generator": {}, "critic": {}}
    for name, value in weights.tensors(folder, noise.device).items():
        value = to_theirs(name, value.detach()).contiguous()
        value = value.contiguous(memory_format=layout(mode)) if value.ndim == 4 else value
        parts[name.split("/")[0]][name] = value.requires_grad_()
    generator, critic = parts.values()
    sides = [side for side in (FIRST << level for level in range(16)) if side <= workload.settings["sample_size"] // 2]
    generate: Any = functools.partial(generated, sides)
    criticise: Any = functools.partial(criticised, sides[::-1])
    if mode == "compiled":
        generate, criticise = torch.compile(generate), torch.compile(criticise)
    of_generator, of_critic = (
        torch.optim.Adam(part.values(), lr=RATE, betas=BETAS, eps=EPSILON, fused=True) for part in (generator, critic)
    )

    def run() -> Any:
        fake = generate(generator, noise)
        loss = softplus(-criticise(critic, clean)).mean() + softplus(criticise(critic, fake.detach())).mean()
        of_critic.zero_grad(set_to_none=True)
        loss.backward()
        of_critic.step()
        generator_loss = softplus(-criticise(critic, fake)).mean()
        of_generator.zero_grad(set_to_none=True)
        generator_loss.backward(inputs=list(generator.values()))  # no gradient of the critic's parameters
        of_generator.step()
        return torch.stack([loss.detach(), generator_loss.detach()])

    def answer(losses: Any) -> dict[str, Any]:
        with torch.inference_mode():
            pictures = generated(sides, generator, noise).movedim(1, -1)
        return {"output": torch.cat([pictures.flatten(), losses])}

    return Way(run, answer)


def generated(sides: list[int], weight: dict[str, Any], noise: Any) -> Any:
    """Noise to pictures by torch; a pixel is divided by the root of the mean square of its channels."""
    part = "generator"
    x = functional.linear(noise, weight[f"{part}/input/kernel"], weight[f"{part}/input/bias"]).unflatten(
        1, (-1, FIRST, FIRST)
    )
    for side in sides:
        if side > FIRST:
            name = f"{part}/double_{side}"
            x = functional.conv_transpose2d(x, weight[f"{name}/kernel"], weight[f"{name}/bias"], 2, 1)
        x = (
            x
            * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)
            * weight[f"{part}/norm_{side}/scale"][:, None, None]
        )
        x = functional.relu(x)
    return torch.tanh(
        functional.conv_transpose2d(x, weight[f"{part}/output/kernel"], weight[f"{part}/output/bias"], 2, 1)
    )


def criticised(sides: list[int], weight: dict[str, Any], x: Any) -> Any:
    """Pictures to logits by torch."""
    for side in sides:
        name = f"critic/halve_{side}"
        x = functional.leaky_relu(functional.conv2d(x, weight[f"{name}/kernel"], weight[f"{name}/bias"], 2, 1), 0.2)
    return functional.linear(x.flatten(1), weight["critic/head/output/kernel"], weight["critic/head/output/bias"])[:, 0]


def to_theirs(path: str, ours: Any) -> Any:
    """A parameter of ours, whose convolutions see squares of 2 × 2 pixels as channels, in torch's layout."""
    if path.endswith("input/bias"):  # (4, 4, c) -> (c, 4, 4)
        return ours.reshape(FIRST, FIRST, -1).permute(2, 0, 1).flatten()
    if not path.endswith("kernel"):
        return ours
    if ours.ndim == 4:
        a, b, c, d = ours.shape
        if "/halve_" in path:  # (2, 2, (2, 2, c), f) -> (f, c, 4, 4)
            return ours.reshape(a, b, 2, 2, c // 4, d).permute(5, 4, 0, 2, 1, 3).reshape(d, c // 4, 4, 4)
        # (2, 2, c, (2, 2, f)), turned round -> (c, f, 4, 4)
        return ours.reshape(a, b, c, 2, 2, d // 4).flip(0, 1).permute(2, 5, 0, 3, 1, 4).reshape(c, d // 4, 4, 4)
    if path.endswith("input/kernel"):  # ((4, 4, c), noise) -> ((c, 4, 4), noise)
        return ours.reshape(FIRST, FIRST, -1, ours.shape[1]).permute(2, 0, 1, 3).flatten(0, 2)
    return ours.reshape(1, FIRST, FIRST, -1).permute(0, 3, 1, 2).flatten(1)  # (1, (4, 4, c)) -> (1, (c, 4, 4))


CASES = (
    Case(
        "dcgan_train",
        "DCGAN at 32×32, a step of critic and one of generator, batch 64",
        Workload("adversarial", "dcgan", batch=64),
        "training",
    ),
)
