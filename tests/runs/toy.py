"""A tiny experiment for the tests of the runner: 2x2 images of two classes, a network of nine numbers, no science.

Run as a script it is the command line with this one experiment. When training shows step N, TOY_SIGNAL_AT=N sends it
the signal TOY_SIGNAL (default SIGTERM), and TOY_DIES_AT=N raises an error that nobody handles. TOY_PAUSE=S waits S
seconds after every step, and TOY_PAUSE_JUDGE=S before what is judged, once the file `judging` is there.
"""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff.commands.images import image_sampling
from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import objectives, parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.runs import registry, training_loop
from gendiff.runs.reporting import figures, verdicts


@dataclasses.dataclass(frozen=True)
class Thresholds:
    loss: float = 10.0


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0,)
    train_steps: int = 40
    batch: int = 8
    checkpoint_every: int = 7
    log_every: int = 1
    learning_rate: float = 1e-2
    poisoned: int = 0
    thresholds: Thresholds = Thresholds()


def predict(params, x, t, label):
    row = jnp.where(label == NO_LABEL, 2, label)
    return params["scale"] * x + params["class"][row][:, None, None, None] + params["bias"][None]


def init(key):
    return {"scale": jnp.ones(()), "class": 0.1 * jax.random.normal(key, (3,)), "bias": jnp.zeros((2, 2, 1))}


def data(poisoned=0):
    draw = np.random.default_rng(0)
    labels = np.arange(50, dtype=np.int32) % 2
    images = np.where(labels[:, None, None, None] == 0, -0.5, 0.5) + 0.1 * draw.standard_normal((50, 2, 2, 1))
    images[:poisoned] = np.nan
    return Batch(clean=images.astype(np.float32), condition=(labels,))


error = objectives.denoising(predict, schedules.cosine(50), parameterization.velocity())


def loss(params, key, batch):
    value, metrics = error(params, key, batch)
    noise = jax.random.normal(jax.random.clone(key), batch.clean.shape)
    return value, metrics | {"data_bits": bits(batch.clean), "noise_bits": bits(noise)}


def bits(values):
    """A whole number that changes with any bit of the values and with their order, but not with the order in which they
    are added.
    """
    words = jax.lax.bitcast_convert_type(values, jnp.int32).ravel()
    return (words * (2 * jnp.arange(words.size, dtype=jnp.int32) + 1)).sum(dtype=jnp.int32)


@functools.cache  # so that the runs of one test process share a compiled step
def optimizer(learning_rate):
    return optax.adam(learning_rate)


def train(config, folder, progress):
    intervals = {"checkpoint_every": config.checkpoint_every, "log_every": config.log_every, "most_nonfinite": 3}
    run = {"steps": config.train_steps, "batch": config.batch, "folder": folder, "progress": Trap(progress)}
    program = training_loop.compile_loss(loss, optimizer(config.learning_rate), init, folder, ema=(0.9, 0.99))
    for seed in config.seeds:
        training_loop.train(program, data(config.poisoned), seed=seed, **run, **intervals)


class Trap:
    """A Progress that harms its own process when training reaches a step."""

    def __init__(self, progress):
        self.line, self._task = progress.line, progress.task

    @contextlib.contextmanager
    def task(self, *arguments):
        with self._task(*arguments) as inside:
            yield types.SimpleNamespace(update=functools.partial(_update, inside))


def _update(task, done, text=""):
    task.update(done, text)
    time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
    if os.environ.get("TOY_DIES_AT") == str(done):
        raise RuntimeError("died")
    if os.environ.get("TOY_SIGNAL_AT") == str(done):
        os.kill(os.getpid(), getattr(signal, os.environ.get("TOY_SIGNAL", "SIGTERM")))


def evaluate(config, folder, progress):
    claims, limit = [], config.thresholds.loss
    with progress.phase("judge"):
        if pause := float(os.environ.get("TOY_PAUSE_JUDGE", "0")):
            (folder.path / "judging").touch()
            time.sleep(pause)
        for seed in config.seeds:
            training_loop.restore_ema(init, folder, seed=seed, decay=0.9)
            last = folder.read_metrics(seed)[-1]["loss"]
            claims.append(
                verdicts.claim("loss", "the loss is small", last, (last, last), "<=", limit, n=config.batch, seed=seed)
            )
        real = figures.grid(data().clean[:4], 2, folder.figure("data"), "Real samples")
    return registry.Outcome(tuple(claims), (real,))


def model(config, **changes):
    velocity, schedule = parameterization.velocity(), schedules.cosine(50)
    unconditional = Model(predict, init, schedule, velocity, shape=(2, 2, 1), num_classes=2, levels=17, ema=0.9)
    return dataclasses.replace(unconditional, **changes)


def damage(folder):
    """Changes a bit of every larger file."""
    for file in folder.rglob("*"):
        if file.is_file() and file.stat().st_size > 200:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(bytes(content))


EXPERIMENT = registry.Experiment(
    name="toy",
    question="Does the runner run?",
    config=Config,
    presets={"full": Config(), "demo": Config(train_steps=10)},
    smoke=Config(train_steps=3),
    train=train,
    evaluate=evaluate,
    sample=image_sampling.command(model),
    processes=True,
)


if __name__ == "__main__":
    from gendiff.commands import command_line

    sys.exit(command_line.main(sys.argv[1:], {"toy": EXPERIMENT}))
