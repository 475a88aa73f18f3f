"""The numbers of the study, its networks of all sizes, what they are trained on, and their training: all seeds of a
size by one program.
"""

import dataclasses
import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import language, networks, scaling, training
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Metrics, Params
from gendiff.language.objective import NextTokenLoss
from gendiff.runs import meshes, ranges, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import cost
from gendiff.training import CompiledStep, optimizers

REVERSED, PLAIN, SHUFFLED = "reversed", "plain", "shuffled"
"""How answers stand: units first, as on paper, and reversed answers of other sums, which is the control."""
FORMATS = (REVERSED, PLAIN)
KINDS = (*FORMATS, SHUFFLED)
HEAD = 8
"""Channels of a head of attention; there are at least two heads."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4, 5, 6, 7)
    """Seeds of training, all of them trained by one program; shuffled answers are learned with the first."""
    widths: Distinct[Annotated[int, msgspec.Meta(ge=4, le=4096, multiple_of=2)]] = (4, 6, 8, 12, 16, 24, 32, 48, 64)
    """Channels of a token, from the smallest network to the largest."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    """Blocks of each."""
    digits: Annotated[int, msgspec.Meta(ge=1, le=addition.MOST_DIGITS)] = 3
    """Digits of each number of a sum."""
    train_steps: Count = 400
    """Optimizer steps, equal for all sizes. Other seeds than these chose it: width 64 needs no more than 500 steps of
    2,000.
    """
    batch: Count = 128
    """Sums per step, none of which is held out."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW at width 64; at another width it is that times the root of 64 / width. It falls along
    a cosine.
    """
    warmup: Natural = 100
    """Steps until the learning rate peaks."""
    judged: Several = 2000
    """Held-out pairs, each in one order."""
    samples: Count = 10
    """Answers that are sampled for each of them."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("widths", config.widths)
    if len(config.widths) < 2:
        raise ConfigError(
            f"--widths {ranges.as_typed(config.widths)} must be two or more: what grows with them is asked for"
        )
    if config.warmup >= config.train_steps:
        raise ConfigError(
            f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps"
        )
    if config.judged > (most := addition.unordered(config.digits) // 2):
        raise ConfigError(f"--judged {config.judged} is above {most}, half of the pairs of --digits {config.digits}")


@records.record
class AnswerLoss:
    """Mean of −log p over the digits of answers alone: what stands before them is random, and would drown what is to be
    learned.
    """

    predict: Any = records.static()
    first: int = records.static()

    def __call__(self, params: Params, key: jax.Array, tokens: jax.Array) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics for texts (b, s), whose answers begin at place `first`."""
        weight = jnp.broadcast_to((jnp.arange(tokens.shape[1]) >= self.first)[None], tokens.shape)
        return NextTokenLoss(self.predict, 0.0, False)(params, key, language.Texts(tokens, weight))


def written(config: Config, kind: str) -> SumFormat:
    """How the sums of a kind of training are written. Shuffled answers are reversed ones."""
    return SumFormat(config.digits, reverse=kind in (REVERSED, SHUFFLED))


def seeds_of(config: Config, kind: str) -> tuple[int, ...]:
    """The seeds that are trained together."""
    return config.seeds[:1] if kind == SHUFFLED else config.seeds


@functools.lru_cache(maxsize=4)
def held_out(config: Config) -> np.ndarray:
    """The pairs (n, 2) that no training sees in either order, the same ones for all seeds."""
    return addition.held_out(config.digits, config.judged, seed=0)


def network(config: Config, width: int) -> networks.LanguageModel:
    """The network of a size. Places are learned, for the digits of all sums stand at the same ones."""
    shape = size(config, width)
    return networks.LanguageModel(
        vocabulary=shape.vocabulary,
        context=SumFormat(config.digits).length,
        width=width,
        depth=shape.depth,
        heads=shape.heads,
        head_size=shape.head_size,
        mlp_width=shape.mlp_width,
        positions="learned",
    )


def size(config: Config, width: int) -> scaling.DecoderSize:
    """Its sizes."""
    return scaling.DecoderSize(addition.VOCABULARY, width, config.depth, max(2, width // HEAD), HEAD, 2 * width)


def parameters(config: Config) -> np.ndarray:
    """(widths,) entries of the matrices of all blocks: parameters without the tables of tokens and places, and without
    norms.
    """
    return np.array(
        [shape.active - shape.vocabulary * shape.width for shape in (size(config, width) for width in config.widths)],
        np.float64,
    )


def flops(config: Config) -> np.ndarray:
    """(widths,) operations of a training of one seed: 6 per parameter and token, and attention."""
    tokens = SumFormat(config.digits).length - 1
    sizes = [size(config, width) for width in config.widths]
    counted = [
        cost.training_flops(shape.active, tokens, shape.attention_flops(cost.mean_seen(tokens))) for shape in sizes
    ]
    return config.train_steps * config.batch * np.array(counted, np.float64)


def rows_at(config: Config, kind: str, seeds: tuple[int, ...], step: int) -> np.ndarray:
    """(batch, seeds, length) texts of a step, int32."""

    def pairs(seed: int, step: int) -> np.ndarray:
        return addition.batch_at(config.digits, config.batch, seed, step, without=held_out(config))

    def rows(seed: int) -> np.ndarray:
        text_format, questions = written(config, kind), pairs(seed, step)
        # of sums drawn by themselves: a permutation of the batch would leave one answer in its place, and that much to
        # learn
        answers = pairs(seed, config.train_steps + step) if kind == SHUFFLED else questions
        return np.concatenate([text_format.prompts(questions), text_format.answers(answers)], 1)

    return np.stack([rows(seed) for seed in seeds], 1)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every size with every kind of answers."""
    mesh = meshes.build(folder.mesh, ())
    for width in config.widths:
        for kind in KINDS:
            seeds = seeds_of(config, kind)
            progress.line(f"train width {width}, {kind} answers, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}")
            training_loop.train(
                programs(config, width, seeds, mesh),
                functools.partial(rows_at, config, kind, seeds),
                seed=seeds[0],
                steps=config.train_steps,
                folder=inside(folder, kind, width),
                progress=progress,
            )


def restore(config: Config, folder: RunFolder, kind: str, width: int) -> Params:
    """The parameters after training; every leaf has an axis of seeds in front. Raises as `training_loop.restore_ema`
    does.
    """
    seeds = seeds_of(config, kind)
    return vmapped_seeds.restore(_start(config, width), len(seeds), inside(folder, kind, width), seed=seeds[0])


def inside(folder: RunFolder, kind: str, width: int) -> RunFolder:
    """Where a training keeps its checkpoints and metrics."""
    return folder.inside(f"{kind}_{width}")


@functools.lru_cache(maxsize=8)  # one object, so that both formats of a size share a compiled step
def programs(config: Config, width: int, seeds: tuple[int, ...], mesh: jax.sharding.Mesh) -> CompiledStep:
    """What a training runs, for all its seeds at once."""
    loss = AnswerLoss(networks.pure(network(config, width)), SumFormat(config.digits).prompt_length)
    step = training.make_step(loss, _adamw(config, width))
    return vmapped_seeds.compile_step(step, _start(config, width), seeds, mesh)


def plan(config: Config, progress: Progress) -> None:
    """Prints the sizes and what they cost; computes nothing."""
    spent, runs = flops(config), sum(len(seeds_of(config, kind)) for kind in KINDS)
    for width, number, each in zip(config.widths, parameters(config), spent, strict=True):
        progress.line(f"width {width}: {number:,.0f} parameters without tables, {each:.3g} operations per training")
    progress.line(
        f"{runs} trainings of each, {config.train_steps} steps of {config.batch} sums: {runs * spent.sum():.3g} "
        "operations"
    )


def _start(config: Config, width: int) -> Any:
    module, optimizer = network(config, width), _adamw(config, width)
    return vmapped_seeds.fresh(lambda key: networks.init(module, key, np.zeros((1, 2), np.int32)), optimizer)


def _adamw(config: Config, width: int) -> optax.GradientTransformation:
    """Its peak learning rate falls with the root of the width."""
    peak = float(config.learning_rate * (64 / width) ** 0.5)
    return optimizers.adamw(peak, clip=1.0, warmup=config.warmup, total=config.train_steps, weight_decay=0.01)
