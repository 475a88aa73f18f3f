"""One GPU: bfloat16 inside the network, float32 for parameters, averages, schedule and solver, and a state that is
donated.

    python experiments/examples/one_gpu.py

takes the first GPU if there is one (`pip install -e '.[cuda12]'`); without one it says so, runs the same code on the
CPU, and proves nothing about speed.
"""

import time

import jax
import jax.numpy as jnp
import optax

import gendiff as gd
from gendiff import diffusion, networks, training


def main() -> None:
    device = jax.devices()[0]  # JAX lists accelerators first
    if device.platform == "cpu":
        print("no GPU here: running on the CPU")
    batch, width, depth = (16, 32, 1) if device.platform == "cpu" else (256, 384, 12)
    print(f"{device.device_kind}: batch {batch}, width {width}, depth {depth}")

    image_key, init_key, train_key, draw_key = jax.random.split(jax.random.key(0), 4)
    images = jnp.tanh(jax.random.normal(image_key, (batch, 32, 32, 3)))
    labels = jnp.arange(batch) % 10

    # jax.nn.dot_product_attention and cuDNN take over where the dtype allows it; the network chooses by backend
    network = networks.DiT(patch=4, width=width, depth=depth, heads=width // 16, num_classes=10, dtype="bfloat16")
    predict = networks.pure(network)
    params = networks.init(network, init_key, images, jnp.zeros(batch), labels)
    schedule, velocity = diffusion.schedules.cosine(1000), diffusion.parameterization.velocity()
    optimizer = optax.adamw(2e-4)
    state = training.start(params, optimizer, train_key)
    step = jax.jit(
        training.make_step(diffusion.objectives.denoising(predict, schedule, velocity), optimizer), donate_argnums=0
    )

    data = diffusion.Batch(clean=images, condition=(labels,))
    state, metrics = step(state, data)  # compiles
    jax.block_until_ready(state)
    start, steps = time.perf_counter(), 5
    for _ in range(steps):
        state, metrics = step(state, data)
    jax.block_until_ready(state)
    print(f"training: {steps * batch / (time.perf_counter() - start):.0f} images/s, loss {metrics['loss']:.3f}")

    @jax.jit
    def draw(params: dict, index: jax.Array, label: jax.Array) -> jax.Array:
        denoiser = diffusion.from_network(predict, params, velocity, label)
        # one pass of 2b keeps a GPU busy
        guided = diffusion.guidance.classifier_free(denoiser, denoiser.with_condition(gd.NO_LABEL), 2.0, batched=True)
        levels = diffusion.grids.trailing(schedule, 4)
        return diffusion.sample(draw_key, guided, diffusion.samplers.ddim(), levels, shape=(32, 32, 3), index=index)

    samples = draw(state.ema, jnp.arange(batch), labels)
    print(f"samples: {samples.dtype} {samples.shape}, finite: {bool(jnp.isfinite(samples).all())}")


if __name__ == "__main__":
    main()
