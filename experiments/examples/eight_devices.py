"""Data parallelism: the batch is split over all devices, and a sample stays the same whatever their number.

    python experiments/examples/eight_devices.py

takes about 15 s. On a machine with accelerators it uses them; on a CPU it makes eight devices out of one, which shows
that the code is right and makes nothing faster.
"""

import jax
import jax.numpy as jnp
import optax

from gendiff import data, diffusion, networks, training
from gendiff.training import sharding


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 8)  # before the first use of JAX; accelerators do not mind
    devices = jax.local_devices()
    print(f"{len(devices)} devices of kind {devices[0].device_kind}")
    mesh = sharding.mesh(devices=devices)

    digits = data.digits.load()
    images, labels = digits.train_images, digits.train_labels
    init_key, train_key, draw_key = jax.random.split(jax.random.key(0), 3)
    batch = 16 * len(devices)

    network = networks.DiT(patch=2, width=32, depth=1, heads=2, num_classes=10)
    predict = networks.pure(network)
    params = networks.init(network, init_key, images[:1], jnp.zeros(1), labels[:1])
    schedule, velocity = diffusion.schedules.cosine(1000), diffusion.parameterization.velocity()
    optimizer = optax.adamw(1e-3)
    state = sharding.replicate(training.start(params, optimizer, train_key), mesh)
    step = jax.jit(
        training.make_step(diffusion.objectives.denoising(predict, schedule, velocity), optimizer), donate_argnums=0
    )
    for number in range(5):
        rows = data.batches.batch_at(len(images), batch, seed=0, step=number)
        state, metrics = step(
            state, sharding.shard(diffusion.Batch(clean=images[rows], condition=(labels[rows],)), mesh)
        )
    print(f"loss after {int(state.step)} steps of {batch} images: {metrics['loss']:.3f}")

    @jax.jit
    def draw(params: dict, index: jax.Array, label: jax.Array) -> jax.Array:
        denoise = diffusion.from_network(predict, params, velocity, label)
        levels = diffusion.grids.trailing(schedule, 10)
        return diffusion.sample(draw_key, denoise, diffusion.samplers.ddim(), levels, shape=(8, 8, 1), index=index)

    index = jnp.arange(8 * len(devices))
    split = draw(state.ema, *sharding.shard((index, index % 10), mesh))
    alone = draw(jax.device_put(state.ema, devices[0]), index[17:18], index[17:18] % 10)
    print(
        "sample 17 on all devices and alone on one differ by "
        f"{jnp.abs(jax.device_get(split)[17] - jax.device_get(alone)[0]).max():.1e}"
    )


if __name__ == "__main__":
    main()
