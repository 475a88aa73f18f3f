"""Exact resume: a run that stops at step 20 and goes on from its checkpoint ends bitwise equal to one that did not
stop.

    python experiments/examples/resume.py [FOLDER]

takes about 10 s. Two things make it exact: step k draws from fold_in(key, k), and batch k is a function of (seed, k),
so that no moving state is left out of the checkpoint.
"""

import sys
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff import data, diffusion, networks, training
from gendiff.training import checkpoints

BATCH, SEED = 64, 0


def train(step: Callable, state: Any, digits: data.digits.Split, until: int) -> Any:
    """The state after step `until`, whatever step it is at now."""
    for number in range(int(state.step), until):
        rows = data.batches.batch_at(len(digits.train_images), BATCH, SEED, number)
        state, _ = step(state, diffusion.Batch(clean=digits.train_images[rows], condition=(digits.train_labels[rows],)))
    return state


def main(folder: str) -> None:
    digits = data.digits.load()
    init_key, train_key = jax.random.split(jax.random.key(SEED))
    network = networks.DiT(patch=2, width=32, depth=1, heads=2, num_classes=10)
    predict = networks.pure(network)
    params = networks.init(network, init_key, digits.train_images[:1], jnp.zeros(1), digits.train_labels[:1])
    optimizer = optax.adamw(1e-3)
    loss = diffusion.objectives.denoising(
        predict, diffusion.schedules.cosine(1000), diffusion.parameterization.velocity()
    )
    step = jax.jit(training.make_step(loss, optimizer), donate_argnums=0)

    through = train(step, training.start(params, optimizer, train_key), digits, until=40)

    config = {"width": 32, "depth": 1, "batch": BATCH, "seed": SEED}
    with checkpoints.Checkpoints(folder, config=config) as stored:  # leaving the block waits for the save
        state = train(step, training.start(params, optimizer, train_key), digits, until=20)
        stored.save(20, state)
    with checkpoints.Checkpoints(folder, config=config) as stored:  # another process would do just this
        restored = stored.restore(None, target=training.start(params, optimizer, train_key))
        print(f"restored step {restored.step} from {stored.path}")
    resumed = train(step, restored.state, digits, until=40)

    pairs = zip(jax.tree.leaves(through), jax.tree.leaves(resumed), strict=True)
    equal = [np.array_equal(numbers(a), numbers(b)) for a, b in pairs]
    print(f"{sum(equal)} of {len(equal)} arrays are bitwise equal after step {int(resumed.step)}")


def numbers(leaf: jax.Array) -> jax.Array:
    """A random key as the integers it is made of; any other array as it is."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(*sys.argv[1:] or [temporary])
