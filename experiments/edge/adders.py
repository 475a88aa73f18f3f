"""Sums: an adder that saw sums of one to three digits, the smaller number first, and one that saw more."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import language, networks, training
from gendiff.core.types import Metrics, Params
from gendiff.language.objective import NextTokenLoss
from gendiff.runs import devices, meshes, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several
from gendiff.runs.reporting import intervals
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured
from gendiff.training import optimizers

NARROW, BROAD = "adder", "adder that saw all of it"
SETS = ("three digits, held out", "the larger number first", "a zero before each number", "four digits")
"""What both are asked, ever further from what the first one saw."""
FOLDER, HEAD = "adders", 8


@dataclasses.dataclass(frozen=True)
class Adder:
    """The numbers of both adders."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Each trains one of either kind, all by one program."""
    digits: Annotated[int, msgspec.Meta(ge=2, le=addition.MOST_DIGITS - 1)] = 3
    """Digits that the first kind saw at most; the other saw one more."""
    width: Annotated[int, msgspec.Meta(ge=16, le=4096, multiple_of=HEAD)] = 64
    """Channels of a token."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Blocks."""
    train_steps: Count = 2500
    """Optimizer steps."""
    batch: Several = 128
    """Sums per step: half of them as long as there are, the others shorter."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW."""
    warmup: Natural = 100
    """Steps until it peaks."""
    judged: Annotated[int, msgspec.Meta(ge=2, le=2000)] = 1000
    """Sums of each set."""


@functools.lru_cache(maxsize=2)
def held_out(adder: Adder) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (n, 2) that no training sees in either order, the smaller number first: as long as what was seen, and a
    digit longer.
    """
    short = np.sort(addition.held_out(adder.digits, adder.judged, seed=0), 1)
    longer = np.sort(addition.held_out(adder.digits + 1, 2 * adder.judged, seed=0), 1)
    return short[short[:, 0] < short[:, 1]], longer[longer[:, 0] >= 10**adder.digits][: adder.judged]


def asked_sums(adder: Adder) -> tuple[tuple[SumFormat, np.ndarray], ...]:
    """Format and pairs of each of `SETS`."""
    short, longer = held_out(adder)
    seen_format, longer_format = (SumFormat(adder.digits + more, reverse=True) for more in (0, 1))
    return (seen_format, short), (seen_format, short[:, ::-1]), (longer_format, short), (longer_format, longer)


def batch_at(adder: Adder, step: int) -> language.Texts:
    """Texts (batch, members, length) of a step: a member for each seed of the first kind, then of the other."""
    members = [_rows(adder, seed, step, broad) for broad in (False, True) for seed in adder.seeds]
    return jax.tree.map(lambda *leaves: np.stack(leaves, 1), *members)


def _rows(adder: Adder, seed: int, step: int, broad: bool) -> language.Texts:
    lengths, excluded = range(1, adder.digits + 1 + broad), np.concatenate(held_out(adder))
    tokens = np.full((adder.batch, SumFormat(adder.digits + 1).length), -1, np.int32)
    weight = np.zeros(tokens.shape, np.float32)
    shorter, longest = np.array_split(np.arange(adder.batch), 2)
    parts = (*np.array_split(shorter, len(lengths) - 1), longest)
    for digits, rows in zip(lengths, parts, strict=True):
        written, without = SumFormat(digits, reverse=True), excluded[excluded.max(1) < 10**digits]
        pairs = addition.batch_at(digits, len(rows), seed, step, without=without)
        tokens[rows, : written.length] = written.rows(pairs if broad else np.sort(pairs, 1))
        weight[rows, written.prompt_length : written.length] = 1.0
    return language.Texts(tokens, weight)


def network(adder: Adder) -> networks.LanguageModel:
    """The network of both kinds."""
    return networks.LanguageModel(
        vocabulary=addition.VOCABULARY,
        context=SumFormat(adder.digits + 1).length,
        width=adder.width,
        depth=adder.depth,
        heads=adder.width // HEAD,
        head_size=HEAD,
        mlp_width=2 * adder.width,
    )


def _fresh(adder: Adder) -> tuple[Any, Any]:
    module = network(adder)
    optimizer = optimizers.adamw(adder.learning_rate, clip=1.0, warmup=adder.warmup, total=adder.train_steps)
    return vmapped_seeds.fresh(lambda key: networks.init(module, key, np.zeros((1, 2), np.int32)), optimizer), optimizer


def train(adder: Adder, folder: RunFolder, progress: Progress) -> None:
    """All adders by one program."""
    progress.line(f"train {2 * len(adder.seeds)} adders")
    start, optimizer = _fresh(adder)

    def loss(params: Params, key: jax.Array, texts: language.Texts) -> tuple[jax.Array, Metrics]:
        return NextTokenLoss(networks.pure(network(adder)), 0.0, False)(params, key, texts)

    step = training.make_step(loss, optimizer)
    program = vmapped_seeds.compile_step(step, start, 2 * adder.seeds, meshes.build(folder.mesh, ()))
    training_loop.train(
        program,
        functools.partial(batch_at, adder),
        seed=adder.seeds[0],
        steps=adder.train_steps,
        folder=folder.inside(FOLDER),
        progress=progress,
    )


def measure(adder: Adder, folder: RunFolder) -> Iterator[Measured]:
    """Of every kind, set and seed the share of sums whose likeliest answer is right."""
    count = len(adder.seeds)
    params = vmapped_seeds.restore(_fresh(adder)[0], 2 * count, folder.inside(FOLDER), seed=adder.seeds[0])
    predict = networks.pure(network(adder))

    def answers(params: Params, rows: jax.Array, first: int) -> jax.Array:
        # the likeliest digit after right ones: an answer is right as a whole where each of its digits is
        return jnp.argmax(predict(params, rows[:, :-1]).logits[:, first - 1 :], 2)

    ask = devices.jit(jax.vmap(answers, in_axes=(0, None, None)), static_argnums=2)
    for distance, (name, (written, pairs)) in enumerate(zip(SETS, asked_sums(adder), strict=True)):
        right = (np.asarray(ask(params, written.rows(pairs), written.prompt_length)) == written.answers(pairs)).all(2)
        for number, each in enumerate(right):
            kind = (NARROW, BROAD)[number // count]
            arrays = {"at": ("sums", kind, distance)}
            measures = {"right": intervals.share(each)}
            yield Measured(f"{kind}: {name}", measures, adder.seeds[number % count], len(pairs), "sums", arrays)
