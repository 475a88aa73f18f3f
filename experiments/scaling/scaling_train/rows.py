"""The trainings and the numbers behind them: which network runs for how many steps under which horizon, and what it
costs.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import jax
import msgspec
import numpy as np

from gendiff import networks, scaling
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Positive, Seed, Several, Some
from gendiff.scaling import DecoderSize, accounting

Kind = Literal["text", "shuffled text", "pictures"]
TEXT: Kind = "text"
SHUFFLED: Kind = "shuffled text"
PICTURES: Kind = "pictures"
MATCHED, FIXED, RATES, CONTROL = "matched horizon", "fixed horizon", "learning rates", "shuffled bytes"
END, VOCABULARY = 256, 257
"""The token between files; the others are bytes."""
SIDE, PATCH = 16, 2
"""Pixels of a side of a picture, and of a patch, which is a token."""
HEAD = 8
"""Channels of a head of attention."""
HELD_OUT = 0.05
"""Share of the files that is not trained on."""
WARM_UP, FINAL = 0.05, 0.1
"""Share of the horizon over which the learning rate rises, and share of its peak that is left at the horizon."""
FACTORS = (0.5, 2.0)
"""Learning rates beside the rule's, as factors on it."""
WEIGHT_DECAY, CLIP = 0.01, 1.0
"""Of AdamW on matrices, and the largest global norm of the gradient."""
Width = Annotated[int, msgspec.Meta(ge=8, le=4096, multiple_of=8)]
Depth = Annotated[int, msgspec.Meta(ge=1, le=64)]
Budget = Annotated[float, msgspec.Meta(ge=1e3, le=1e30)]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The networks and the budgets of one kind of data."""

    widths: Some[Width]
    """Channels of a token in each network, from the smallest network on."""
    depths: Some[Depth]
    """Blocks of each."""
    budgets: Distinct[Budget]
    """Operations of a training, rising."""
    batch: Count
    """Texts or pictures per step."""
    rate: Positive
    """Peak learning rate times the width: the rule for all widths."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of initial parameters and of the order of the data; all of them train side by side in one program, for
    every network.
    """
    text: Sweep = Sweep(
        widths=(8, 16, 24, 32, 48, 64, 80),
        depths=(2, 2, 2, 2, 2, 2, 2),
        budgets=(3e10, 1e11, 3e11, 1e12),
        batch=4,
        rate=0.3,
    )
    """Language models of bytes."""
    pictures: Sweep = Sweep(
        widths=(24, 32, 48, 64, 96, 128),
        depths=(2, 2, 2, 2, 2, 2),
        budgets=(1e11, 3e11, 1e12, 3e12),
        batch=32,
        rate=0.1,
    )
    """Diffusion transformers of rendered shapes. A token has 12 numbers, and a width is more than 1.5 times as many."""
    length: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 128
    """Bytes of a row of text."""
    judged: Annotated[int, msgspec.Meta(ge=8, le=2**20)] = 512
    """Rows of held-out text, and held-out pictures."""
    least_steps: Count = 40
    """A network is left out of a budget that gives it fewer steps."""
    horizon: Several = 8000
    """Steps of the fixed horizon of Kaplan's protocol, the same for all sizes."""
    checked: tuple[int, int] = (1, 4)
    """Which two networks of text are trained at rates beside that of the rule, too, by number from 0 on, with the
    second budget.
    """
    resamples: Several = 1000
    """Draws behind each interval of an exponent."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("text", "pictures"):
        _check_sweep(name, getattr(config, name))
    last = len(config.text.widths) - 1
    first, second = config.checked
    if not 0 <= first < second <= last:
        raise ConfigError(
            f"--checked {first} {second}: two rising numbers from 0 to {last} are needed, those of --text.widths"
        )


def _check_sweep(name: str, settings: Sweep) -> None:
    ranges.rising(f"{name}.budgets", settings.budgets)
    if len(settings.budgets) < 2:
        raise ConfigError(
            f"--{name}.budgets {ranges.as_typed(settings.budgets)} must be two or more: what grows with them is asked "
            "for"
        )
    if len(settings.widths) != len(settings.depths):
        both = (
            f"--{name}.widths {ranges.as_typed(settings.widths)} and --{name}.depths {ranges.as_typed(settings.depths)}"
        )
        raise ConfigError(f"{both} must be as many: one of each for every network")


@dataclasses.dataclass(frozen=True)
class Row:
    """One training of one network with one or more seeds side by side: a row of the sweep.

    marks: steps after which the held-out loss is measured, rising; the last one ends the training. horizon: steps over
    which the learning rate falls. The other fields are those of the configuration, and constants.
    """

    kind: Kind
    width: int
    depth: int
    marks: tuple[int, ...]
    horizon: int
    rate: float
    seeds: tuple[int, ...]
    batch: int
    length: int
    warm_up: float
    final: float
    weight_decay: float
    clip: float
    held_out: float
    judged: int


class Planned(NamedTuple):
    """A row, what it is for, which network of its sweep it trains, the budget that each of its marks spends, and the
    factor on its rate.
    """

    protocol: str
    size: int
    budgets: tuple[float, ...]
    factor: float
    row: Row


class Cost(NamedTuple):
    """Of one network and batch. bare: parameters without embeddings, and so without the last layer that they are,
    too.
    """

    parameters: int
    bare: int
    step_flops: int
    step_tokens: int

    def steps(self, budget: float) -> int:
        """Steps that spend a budget of operations."""
        return round(budget / self.step_flops)


@functools.lru_cache(maxsize=256)
def cost(kind: Kind, width: int, depth: int, batch: int, length: int) -> Cost:
    """Parameters and operations by formula; no parameter is made. Attention counts every pair of tokens, as a program
    multiplies them.
    """
    if kind == PICTURES:
        inputs = (jax.ShapeDtypeStruct((batch, SIDE, SIDE, 3), np.float32), jax.ShapeDtypeStruct((batch,), np.float32))
        counted = accounting.count(network(kind, width, depth, length), *inputs, embeddings=True)
        bare = counted.parameters - counted.embedding_parameters
        return Cost(counted.parameters, bare, counted.training_flops, batch * (SIDE // PATCH) ** 2)
    size, tokens = DecoderSize(VOCABULARY, width, depth, width // HEAD, HEAD, 4 * width), batch * length
    operations = scaling.cost.training_flops(size.active, tokens, size.attention_flops(length))
    return Cost(size.parameters, size.parameters - VOCABULARY * width, int(operations), tokens)


def network(kind: Kind, width: int, depth: int, length: int) -> networks.LanguageModel | networks.DiT:
    """The network of a row."""
    heads = width // HEAD
    if kind == PICTURES:
        return networks.DiT(patch=PATCH, width=width, depth=depth, heads=heads)
    return networks.LanguageModel(vocabulary=VOCABULARY, context=length, width=width, depth=depth, heads=heads)


def cost_of(row: Row) -> Cost:
    """That of its network and batch."""
    return cost(row.kind, row.width, row.depth, row.batch, row.length)


def planned(config: Config) -> list[Planned]:
    """Every training; the same row may serve two protocols."""
    return [*_matched(config, TEXT), *_fixed(config), *_rates(config), *_control(config), *_matched(config, PICTURES)]


def rows(config: Config) -> list[Row]:
    """Each row once, the dearest first, so that several processes end at about the same time."""
    all_rows = dict.fromkeys(each.row for each in planned(config))
    return sorted(all_rows, key=flops, reverse=True)


def flops(row: Row) -> float:
    """Operations of all seeds of a row by formula, without the measurements."""
    return float(cost_of(row).step_flops * row.marks[-1] * len(row.seeds))


def _matched(config: Config, kind: Kind) -> Iterator[Planned]:
    """Every network at every budget that gives it enough steps; the learning rate falls until its end."""
    settings = sweep(config, kind)
    for size in range(len(settings.widths)):
        for budget in settings.budgets:
            steps = _cost(config, kind, size).steps(budget)
            if steps >= config.least_steps:
                yield _each(MATCHED, config, kind, size, {budget: steps}, steps)


def _fixed(config: Config) -> Iterator[Planned]:
    """Every network of text once, with the same horizon for all: measured on the way, and stopped early."""
    for size in range(len(config.text.widths)):
        steps = {budget: _cost(config, TEXT, size).steps(budget) for budget in config.text.budgets}
        reached = {budget: count for budget, count in steps.items() if config.least_steps <= count <= config.horizon}
        if reached:
            yield _each(FIXED, config, TEXT, size, reached, config.horizon)


def _rates(config: Config) -> Iterator[Planned]:
    """Two networks at the rates beside that of the rule, and at that one."""
    budget = config.text.budgets[1]
    for size in config.checked:
        steps = max(1, _cost(config, TEXT, size).steps(budget))
        for factor in (1.0, *FACTORS):
            yield _each(RATES, config, TEXT, size, {budget: steps}, steps, factor)


def _control(config: Config) -> Iterator[Planned]:
    """Texts without order, by a network of middle size at the smallest and the largest budget."""
    for budget in (config.text.budgets[0], config.text.budgets[-1]):
        able = [
            size
            for size in range(len(config.text.widths))
            if _cost(config, TEXT, size).steps(budget) >= config.least_steps
        ]
        size = able[len(able) // 2] if able else 0
        steps = max(1, _cost(config, TEXT, size).steps(budget))
        yield _each(CONTROL, config, SHUFFLED, size, {budget: steps}, steps)


def sweep(config: Config, kind: Kind) -> Sweep:
    """The networks and budgets of one kind of data."""
    return config.pictures if kind == PICTURES else config.text


def _cost(config: Config, kind: Kind, size: int) -> Cost:
    settings = sweep(config, kind)
    return cost(kind, settings.widths[size], settings.depths[size], settings.batch, config.length)


def _each(
    protocol: str, config: Config, kind: Kind, size: int, steps: dict[float, int], horizon: int, factor: float = 1.0
) -> Planned:
    """The row of all seeds. steps: of each budget. factor: on the learning rate of the rule."""
    settings = sweep(config, kind)
    row = Row(
        kind=kind,
        width=settings.widths[size],
        depth=settings.depths[size],
        marks=tuple(steps.values()),
        horizon=horizon,
        rate=factor * settings.rate / settings.widths[size],
        seeds=config.seeds,
        batch=settings.batch,
        length=config.length,
        warm_up=WARM_UP,
        final=FINAL,
        weight_decay=WEIGHT_DECAY,
        clip=CLIP,
        held_out=HELD_OUT,
        judged=config.judged,
    )
    return Planned(protocol, size, tuple(steps), factor, row)
