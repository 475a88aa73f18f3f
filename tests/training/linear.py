"""A linear model with a noisy quadratic loss: the smallest thing that trains."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import training
from gendiff.core import records, trees
from gendiff.diffusion.types import Batch
from gendiff.training.checkpoints import Checkpoints

FEATURES = 3


def params(dtype=jnp.float32):
    return {
        "dense": {
            "kernel": jnp.linspace(-1, 1, 2 * FEATURES, dtype=dtype).reshape(FEATURES, 2),
            "bias": jnp.zeros(2, dtype),
        }
    }


def batch(step=0, size=8):
    rng = np.random.default_rng(step)
    return Batch(rng.normal(size=(size, FEATURES)).astype(np.float32), (rng.normal(size=(size, 2)).astype(np.float32),))


def exact(params, key, batch):
    dense = params["dense"]
    error = batch.clean @ dense["kernel"] + dense["bias"][None] - batch.condition[0]
    return jnp.mean(jnp.square(error)), {"largest": jnp.max(jnp.abs(error))}


def noisy(params, key, batch):
    noise = jax.random.normal(key, batch.clean.shape, batch.clean.dtype)
    return exact(params, key, Batch(batch.clean + 0.1 * noise, batch.condition))


def taught(params, key, batch, teacher, scale):
    """Distance of the model's answers from a multiple of those of another model, which is frozen."""
    answers = [batch.clean @ each["dense"]["kernel"] + each["dense"]["bias"][None] for each in (params, teacher)]
    return jnp.mean(jnp.square(answers[0] - scale * answers[1])), {}


def adamw():
    return training.optimizers.adamw(1e-2, warmup=2, total=50, weight_decay=0.1)


def start(seed=0, ema=(0.9, 0.5), optimizer=None):
    return training.start(params(), optimizer or adamw(), jax.random.key(seed), ema)


STEP = jax.jit(training.make_step(noisy, adamw()), donate_argnums=0)


def train(state, first, last):
    for number in range(first, last):
        state, _ = STEP(state, batch(number))
    return state


def written(path, **options):
    """The folder, with checkpoints of the steps 2 and 4 of a run."""
    with Checkpoints(path, keep=5, **options) as checkpoints:
        state = start()
        for first in (0, 2):
            state = train(state, first, first + 2)
            checkpoints.save(first + 2, state, {"rows": first + 2})
    return path


def restore(path, step=None, target=None, **options):
    with Checkpoints(path, **options) as checkpoints:
        return checkpoints.restore(step, start() if target is None else target)


def leaves(state):
    """Leaves as NumPy arrays by path, keys as their data."""
    flat = trees.paths(records.replace(state, key=jax.random.key_data(state.key)))
    return {path: np.asarray(leaf) for path, leaf in flat.items()}


def assert_bitwise_equal(first, second):
    first, second = leaves(first), leaves(second)
    assert first.keys() == second.keys()
    for path, leaf in first.items():
        assert leaf.dtype == second[path].dtype and leaf.tobytes() == second[path].tobytes(), path


def python(script, *arguments, flags="", before=()):
    """Another process that runs the script, behind a command that runs commands."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "JAX_NUMPY_RANK_PROMOTION": "raise"}
    command = [*before, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout=120):
    out, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return out
