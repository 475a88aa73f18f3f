"""A small language model of bytes that is trained on Python's manual, so that its weights never were of few bits."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import language, networks
from gendiff.core.types import Params
from gendiff.data import batches, text
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers

LENGTH, BATCH, EMA = 128, 16, 0.99
HELD_OUT = 0.15
"""Share of the documents that is not trained on."""
FOLDER = "bytes"


def network(width: int) -> networks.LanguageModel:
    """Four blocks."""
    size = language.tokens.plain().size
    return networks.LanguageModel(vocabulary=size, context=LENGTH, width=width, depth=4, heads=4)


@functools.lru_cache  # one object, so that a compiled start is shared
def _init(width: int) -> Callable[[jax.Array], Params]:
    return lambda key: networks.init(network(width), key, np.zeros((1, 2), np.int32))


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows of bytes (n, LENGTH + 1) of the documents to train on, and of held-out ones."""
    tokenizer = language.tokens.plain()
    parts = text.split(text.python_manual(), HELD_OUT, seed=0)
    trained, out = (
        text.rows([tokenizer.encode(each) for each in part.texts], LENGTH + 1, tokenizer.size - 1) for part in parts
    )
    return trained, out


def train(width: int, steps: int, seed: int, folder: RunFolder, progress: Progress) -> None:
    """Train it, in a folder inside of that of the run."""
    data = rows()[0]
    loss = language.objective.next_token(networks.pure(network(width)))
    optimizer = optimizers.adamw(2e-3, warmup=min(100, steps // 2), total=steps, weight_decay=0.01, clip=1.0)

    def batch_at(step: int) -> language.Texts:
        return language.Texts(data[batches.batch_at(len(data), BATCH, seed, step)])

    program = training_loop.compile_loss(loss, optimizer, _init(width), folder, ema=(EMA,))
    inside = folder.inside(FOLDER)
    training_loop.train(program, batch_at, seed=seed, steps=steps, folder=inside, progress=progress)


def params(width: int, seed: int, folder: RunFolder) -> Params:
    """The averaged parameters."""
    return training_loop.restore_ema(_init(width), folder.inside(FOLDER), seed=seed, decay=EMA)


def losses(network: networks.LanguageModel, values: Params, held_out: np.ndarray) -> np.ndarray:
    """Nats per byte of each row (n,)."""

    def one(values: Params, rows: jax.Array) -> jax.Array:
        logits = networks.pure(network)(values, rows[:, :-1]).logits
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), rows[:, 1:, None], 2)[..., 0], 1)

    return np.asarray(jax.jit(one)(values, held_out))
