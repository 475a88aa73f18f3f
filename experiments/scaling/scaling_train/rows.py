"""The trainings of the experiment: which network runs for how many steps under which horizon, by protocol, and what each costs."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np

from experiments.scaling.scaling_train.config import Config, Sweep
from gendiff import networks, scaling
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


@dataclass(frozen=True)
class Row:
    """One training of one network with one or more seeds side by side: a row of the sweep.

    marks: steps after which the held-out loss is measured, rising; the last one ends the training. horizon: steps over which the learning
    rate falls. The other fields are those of the configuration.
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
    """A row, what it is for, which network of its sweep it trains, the budget that each of its marks spends, and the factor on its rate."""

    protocol: str
    size: int
    budgets: tuple[float, ...]
    factor: float
    row: Row


class Cost(NamedTuple):
    """Of one network and batch. bare: parameters without embeddings, and so without the last layer that they are, too."""

    parameters: int
    bare: int
    step_flops: int
    step_tokens: int

    def steps(self, budget: float) -> int:
        """Steps that spend a budget of operations."""
        return round(budget / self.step_flops)


@functools.lru_cache(maxsize=256)
def cost(kind: Kind, width: int, depth: int, batch: int, length: int) -> Cost:
    """Parameters and operations by formula; no parameter is made. Attention counts every pair of tokens, as a program multiplies them."""
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
    every = dict.fromkeys(each.row for each in planned(config))
    return sorted(every, key=flops, reverse=True)


def flops(row: Row) -> float:
    """Operations of all seeds of a row by formula, without the measurements."""
    return float(cost_of(row).step_flops * row.marks[-1] * len(row.seeds))


def _matched(config: Config, kind: Kind) -> Iterator[Planned]:
    """Every network at every budget that gives it enough steps; the learning rate falls until its end."""
    of = sweep(config, kind)
    for size in range(len(of.widths)):
        for budget in of.budgets:
            steps = _cost(config, kind, size).steps(budget)
            if steps >= config.least_steps:
                yield from _each(MATCHED, config, kind, size, {budget: steps}, steps)


def _fixed(config: Config) -> Iterator[Planned]:
    """Every network of text once, with the same horizon for all: measured on the way, and stopped early."""
    for size in range(len(config.text.widths)):
        steps = {budget: _cost(config, TEXT, size).steps(budget) for budget in config.text.budgets}
        reached = {budget: count for budget, count in steps.items() if config.least_steps <= count <= config.horizon}
        if reached:
            yield from _each(FIXED, config, TEXT, size, reached, config.horizon)


def _rates(config: Config) -> Iterator[Planned]:
    """Two networks at the rates beside that of the rule, and at that one."""
    budget = config.text.budgets[1]
    for size in config.checked:
        steps = max(1, _cost(config, TEXT, size).steps(budget))
        for factor in (1.0, *config.factors):
            yield from _each(RATES, config, TEXT, size, {budget: steps}, steps, factor)


def _control(config: Config) -> Iterator[Planned]:
    """Texts without order, by a network of middle size at the smallest and the largest budget."""
    for budget in (config.text.budgets[0], config.text.budgets[-1]):
        able = [size for size in range(len(config.text.widths)) if _cost(config, TEXT, size).steps(budget) >= config.least_steps]
        size = able[len(able) // 2] if able else 0
        steps = max(1, _cost(config, TEXT, size).steps(budget))
        yield from _each(CONTROL, config, SHUFFLED, size, {budget: steps}, steps)


def sweep(config: Config, kind: Kind) -> Sweep:
    """The networks and budgets of one kind of data."""
    return config.pictures if kind == PICTURES else config.text


def _cost(config: Config, kind: Kind, size: int) -> Cost:
    of = sweep(config, kind)
    return cost(kind, of.widths[size], of.depths[size], of.batch, config.length)


def _each(
    protocol: str, config: Config, kind: Kind, size: int, steps: dict[float, int], horizon: int, factor: float = 1.0
) -> Iterator[Planned]:
    """One row for all seeds, or one for each. steps: of each budget. factor: on the learning rate of the rule."""
    of = sweep(config, kind)
    for seeds in (config.seeds,) if config.together else ((seed,) for seed in config.seeds):
        row = Row(
            kind=kind,
            width=of.widths[size],
            depth=of.depths[size],
            marks=tuple(steps.values()),
            horizon=horizon,
            rate=factor * of.rate / of.widths[size],
            seeds=seeds,
            batch=of.batch,
            length=config.length,
            warm_up=config.warm_up,
            final=config.final,
            weight_decay=config.weight_decay,
            clip=config.clip,
            held_out=config.held_out,
            judged=config.judged,
        )
        yield Planned(protocol, size, tuple(steps), factor, row)
