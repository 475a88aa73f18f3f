"""Learned grids: few levels, chosen by gradients through the sampling loop so that samples end where many levels lead.

A fine solution says where the flow carries each x_T. The positions of the few levels, and where wanted one guidance
scale and one gain per step, descend the distance of the end points. A judge on other noise then decides between the
learned grid and the best fixed one.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import PyTree, Scalar
from gendiff.diffusion import guidance, samplers, sampling
from gendiff.diffusion.guidance.strength import Scale
from gendiff.diffusion.sampling import Part, Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction

if TYPE_CHECKING:
    import optax

LEARNED = "learned"
"""The name of the learned grid among the errors."""
FARTHEST = 1e4
"""The sigma/alpha, or its inverse, that levels stay within where the schedule has no end of its own."""
LEAST_GAP = 1e-4
"""The smallest share of the schedule's log-SNR between two levels, or a level and an end, that learning begins with."""
RATE = 0.03
"""The first learning rate of the default optimizer, in gaps of a grid that is even in log-SNR."""
REACH = 0.25
"""How far on both sides, in log-SNR, a prediction is asked for to tell how it changes with t."""

Distance = Callable[[Array, Array], Array]
"""(samples (b, …), where they should be (b, …)) -> (b,)."""
# gaps (n + 1,), and logarithms of scales and gains (n,)
_Numbers = tuple[Array, Array | None, Array | None]


@records.record
class LearnedGrid:
    """What `learn` returns: the learned grid with what belongs to it, or the best fixed one where it is not better.

    Args:
        levels: (n + 1,).
        scales: (n,) a guidance scale per step, for `guidance.at_levels(levels, scales)`; None if none were asked for.
        gains: (n,) a gain per step, for `samplers.stretched(sampler, gains)`; None if none were asked for.
        losses: (iterations,) the mean distance in each batch, while learning.
        errors: the mean distance on held-out noise, (), of each candidate by its name and of "learned".
        improved: () whether "learned" is the least of them, so that it was taken.
    """

    levels: Level
    scales: Array | None
    gains: Array | None
    losses: Array
    errors: dict[str, Array]
    improved: Array


def mean_square(x: Float[Array, "b *shape"], target: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    """The mean square of the difference over each sample's entries, (b,)."""
    return jnp.mean(jnp.square(arrays.flatten_samples(x - target)), axis=1)


def learn(
    key: jax.Array,
    denoise: Denoiser | Callable[[Scale], Denoiser],
    sampler: Sampler,
    schedule: Schedule,
    *,
    shape: tuple[int, ...],
    candidates: Mapping[str, Level],
    reference: tuple[Sampler, Level],
    pairs: int = 64,
    held_out: int = 64,
    batch: int = 16,
    iterations: int = 200,
    optimizer: "optax.GradientTransformation | None" = None,
    distance: Distance = mean_square,
    scale: Scalar | None = None,
    gains: bool = False,
) -> LearnedGrid:
    """Learn the levels of n steps of a deterministic sampler.

    Call it under `jit`: it is one program, and compiles in parts otherwise.

    Learning begins at the candidate with the least error, moved inside the schedule's ends. The n levels stay strictly
    decreasing in noise and within the schedule; the level where the last step ends is kept. Where the schedule has no
    end of its own, they stay within a sigma/alpha of FARTHEST or its inverse. The network is evaluated anew in the
    backward pass (`jax.checkpoint`), so that memory holds x at every step, and the inside of one evaluation only.

    How a prediction changes with t is told by two more evaluations, REACH to both sides, not by its derivative.
    Networks embed t by sines of many frequencies. The derivative follows the fastest, whose small ripples say nothing
    about a level nearby.

    Held-out noise is drawn by the same key for other samples: what is learned never saw it. The result is never worse
    there than the best candidate, because that one is returned otherwise.

    It costs about 6 · iterations · batch · n evaluations of one sample, and one fine solution for each of
    pairs + held_out samples.

    Args:
        key: one typed key, of the noise.
        denoise: the denoiser. Conditions are aligned with a batch: sample i has entry i mod `batch`. With `scale`, a
            function from a scale to the denoiser, such as
            `lambda scale: guidance.classifier_free(given, absent, scale, batched=True)`. Gradients go through it: on a
            CPU, build a U-Net with `convolution="fast_backward"`.
        sampler: deterministic, such as `samplers.ddim()`.
        schedule: of the process, with concrete numbers.
        shape: of one sample.
        candidates: fixed grids by name, all of (n + 1,) with the same last level, such as
            `{"trailing": grids.trailing(schedule, n), "resolved": grids.resolved(schedule, n, resolution=2 / 255,
            norm=30.0)}`.
        reference: a deterministic sampler and a fine grid with the same last level, whose end points are the aim. x_T
            has the same noise for every grid, times that grid's first sigma.
        pairs: how many x_T to learn from, a multiple of `batch`. Batches take turns.
        held_out: how many x_T to judge by, a multiple of `batch`.
        batch: samples in one gradient, at least 1.
        iterations: gradient steps, at least 1.
        optimizer: any optax transformation; None is Adam whose rate falls from RATE to 0 along a cosine.
        distance: of samples to their aim, differentiable.
        scale: () above 0, the guidance scale of the reference and of the candidates: one per step is learned, from this
            one. None: `denoise` is as it is.
        gains: whether a gain per step is learned as well, from 1.

    Raises:
        TypeError: for a sampler that draws noise.
        ValueError: for counts that are no multiples of `batch`, candidates that are not alike, and a distance of
            another shape.

    References:
        Watson et al., 2022, for gradients through the loop; Tong et al., 2024, for the distance of end points; Sabour
        et al., 2024, and Chen et al., 2024, who choose levels by other aims; Shaul et al., 2023, for coefficients (all
        from memory).
    """
    checks.one_key("key", key)
    checks.integer("batch", batch, 1)
    checks.integer("iterations", iterations, 1)
    for name, count in (("pairs", pairs), ("held_out", held_out)):
        checks.integer(name, count, 1)
        if count % batch:
            raise ValueError(
                f"{name} = {count} must be a multiple of batch = {batch}: give {-(-count // batch) * batch}"
            )
    if scale is not None:
        checks.in_range("scale", scale, 0.0, math.inf, open_low=True, open_high=True)
    grids = _alike(candidates, reference[1])
    draws = _Draws(key, denoise, sampler, schedule, shape, batch, distance, guided=scale is not None)
    draws.check_distance()
    draws.check_deterministic("sampler", sampler, grids[0])
    draws.check_deterministic("reference", *reference)

    n, count = len(grids[0]) - 1, len(grids)
    fixed = _Choice(
        jax.tree.map(lambda *fields: jnp.stack([jnp.asarray(field) for field in fields]), *grids),
        None if scale is None else jnp.asarray(scale) * jnp.ones((count, n)),
        jnp.ones((count, n)) if gains else None,
    )
    targets = draws.targets(reference, scale, (pairs + held_out) // batch)
    aims, others = jax.tree.map(lambda rows: (rows[: pairs // batch], rows[pairs // batch :]), targets)
    begin = _row(fixed, _least(draws.errors(fixed, aims, 0)))
    learned, losses = _descend(
        draws, _Span.of_schedule(schedule), begin, aims, iterations, optimizer or _adam(iterations)
    )
    choices = jax.tree.map(lambda rows, last: jnp.concatenate([rows, last[None]]), fixed, learned)
    errors = draws.errors(choices, others, pairs)
    best = _least(errors[:-1])
    improved = (errors[-1] < errors[best]) & _falls(learned.levels)
    chosen = _row(choices, jnp.where(improved, count, best))
    named = dict(zip((*candidates, LEARNED), errors, strict=True))
    return LearnedGrid(chosen.levels, chosen.scales, chosen.gains, losses, named, improved)


@records.record
class _Choice:
    """A grid (n + 1,) with a scale and a gain per step (n,), each None where it is not learned; or several, stacked."""

    levels: Level
    scales: Array | None
    gains: Array | None


@dataclasses.dataclass(frozen=True)
class _Draws:
    """Draws of numbered batches: batch i holds the samples i · batch … (i + 1) · batch - 1."""

    key: jax.Array
    denoise: Any  # the denoiser; if `guided`, a function from a scale to it
    sampler: Sampler
    schedule: Schedule
    shape: tuple[int, ...]
    batch: int
    distance: Distance
    guided: bool

    def denoiser(self, scale: Scale | None) -> Denoiser:
        """With `scale`, if one is learned."""
        denoise: Denoiser = self.denoise(scale) if self.guided else self.denoise
        return denoise

    def sample(self, denoise: Denoiser, sampler: Sampler, levels: Level, number: Array) -> Array:
        index = number * self.batch + jnp.arange(self.batch)
        return sampling.sample(self.key, denoise, sampler, levels, self.shape, index)

    def targets(self, reference: tuple[Sampler, Level], scale: Scalar | None, count: int) -> Array:
        """(count, batch, *shape) where the fine solution ends."""
        denoise = self.denoiser(scale)
        ends: Array = jax.lax.map(lambda number: self.sample(denoise, *reference, number), jnp.arange(count))
        return ends

    def error(self, choice: _Choice, target: Array, number: Array, *, differentiable: bool = False) -> Array:
        """() the mean distance of one batch. differentiable: see `_differentiable`."""
        denoise = self.denoiser(None if choice.scales is None else guidance.at_levels(choice.levels, choice.scales))
        denoise = _differentiable(denoise, self.schedule) if differentiable else denoise
        sampler = self.sampler if choice.gains is None else samplers.stretched(self.sampler, choice.gains)
        return jnp.mean(self.distance(self.sample(denoise, sampler, choice.levels, number), target))

    def errors(self, choices: _Choice, targets: Array, first: int) -> Array:
        """(c,) the mean distance of each of the stacked choices, over batches from sample `first` on."""
        numbers = first // self.batch + jnp.arange(len(targets))

        def of_one(choice: _Choice) -> Array:
            return jnp.mean(jax.lax.map(lambda row: self.error(choice, *row), (targets, numbers)))

        means: Array = jax.lax.map(of_one, choices)
        return means

    def check_distance(self) -> None:
        """ValueError for a distance that is not one number per sample."""
        x = jax.ShapeDtypeStruct((self.batch, *self.shape), jnp.result_type(float))
        if (got := jax.eval_shape(self.distance, x, x).shape) != (self.batch,):
            raise ValueError(f"distance must answer one number per sample ({self.batch},), got {got}")

    def check_deterministic(self, name: str, sampler: Sampler, levels: Level) -> None:
        """TypeError for a sampler that draws noise."""

        def no_noise(like: Array, part: Part = 0) -> Array:
            raise TypeError(
                f"{name} draws noise: end points can be compared only of a deterministic sampler, such as "
                "samplers.ddim()"
            )

        denoise = self.denoiser(1.0 if self.guided else None)
        x = jax.ShapeDtypeStruct((self.batch, *self.shape), jnp.result_type(levels.sigma))
        if isinstance(sampler, Sampler):  # `sample` refuses everything else
            jax.eval_shape(lambda x: sampler.step(no_noise, denoise, sampler.init(x), levels[0], levels[1], 0).x, x)


@dataclasses.dataclass(frozen=True)
class _Span:
    """The log-SNR range of a schedule, and levels as gaps in it: any n + 1 gaps are n levels that fall, inside it."""

    schedule: Schedule
    low: float
    high: float

    @classmethod
    def of_schedule(cls, schedule: Schedule) -> "_Span":
        most = 2 * math.log(FARTHEST)
        low, high = float(schedule.noisiest.log_snr), float(schedule.cleanest.log_snr)
        return cls(schedule, low if math.isfinite(low) else -most, high if math.isfinite(high) else most)

    def gaps(self, levels: Level) -> Array:
        """(n + 1,) numbers whose `starts` are all but the last of these levels (n + 1,), nearly so at an end."""
        share = (jnp.asarray(levels.log_snr)[:-1] - self.low) / (self.high - self.low)
        gaps = jnp.maximum(jnp.diff(jnp.clip(share, 0.0, 1.0), prepend=0.0, append=1.0), LEAST_GAP)
        gaps *= len(gaps) / jnp.sum(gaps)
        return gaps + jnp.log(-jnp.expm1(-gaps))  # the inverse of softplus

    def starts(self, gaps: Array) -> Level:
        """(n,) levels."""
        positive = jax.nn.softplus(gaps)
        share = jnp.cumsum(positive)[:-1] / jnp.sum(positive)
        return self.schedule.at_log_snr(self.low + (self.high - self.low) * share)


def _descend(
    draws: _Draws,
    span: _Span,
    begin: _Choice,
    targets: Array,
    iterations: int,
    optimizer: "optax.GradientTransformation",
) -> tuple[_Choice, Array]:
    """The choice after all iterations, and the loss before each of them."""
    import optax

    def choice(numbers: _Numbers) -> _Choice:
        gaps, *logarithms = numbers
        levels = jax.tree.map(
            lambda field, last: jnp.append(field, last).astype(last.dtype), span.starts(gaps), begin.levels[-1]
        )
        start = [begin.scales, begin.gains]
        return _Choice(levels, *jax.tree.map(lambda start, x: start * jnp.exp(x), start, logarithms))

    def loss_of(numbers: _Numbers, number: Array) -> Array:
        return draws.error(choice(numbers), targets[number], number, differentiable=True)

    def advance(carry: tuple[_Numbers, PyTree], turn: Array) -> tuple[tuple[_Numbers, PyTree], Array]:
        numbers, state = carry
        number = turn % len(targets)
        loss, slope = jax.value_and_grad(loss_of)(numbers, number)
        updates, state = optimizer.update(slope, state, numbers)
        return (optax.apply_updates(numbers, updates), state), loss

    start = (span.gaps(begin.levels), *jax.tree.map(jnp.zeros_like, (begin.scales, begin.gains)))
    (numbers, _), losses = jax.lax.scan(advance, (start, optimizer.init(start)), jnp.arange(iterations))
    return choice(numbers), losses


def _differentiable(denoise: Denoiser, schedule: Schedule) -> Denoiser:
    """The same denoiser with gradient checkpointing; its derivative by t is a secant of `REACH` to both sides."""
    # the loop of steps is a barrier already
    inner = jax.checkpoint(lambda x, level: denoise(x, level), prevent_cse=False)

    def with_secant(x: Array, level: Level) -> Prediction:
        held, here = jax.lax.stop_gradient((x, level))
        noisier, cleaner = (schedule.at_log_snr(here.log_snr + shift).t for shift in (-REACH, REACH))
        first, last = (denoise(held, records.replace(here, t=t)) for t in (noisier, cleaner))
        moved = arrays.safe_divide(level.t - here.t, cleaner - noisier)  # 0, with a derivative
        prediction = inner(x, records.replace(level, t=here.t))
        secant: Prediction = jax.tree.map(
            lambda value, a, b: value + arrays.expand(moved, value) * jax.lax.stop_gradient(b - a),
            prediction,
            first,
            last,
        )
        return secant

    return with_secant


def _adam(iterations: int) -> "optax.GradientTransformation":
    import optax

    return optax.adam(optax.cosine_decay_schedule(RATE, iterations))


def _alike(candidates: Mapping[str, Level], reference: Level) -> list[Level]:
    """The candidates. Refused: none, one called "learned", other lengths, or another last level than the reference."""
    if not candidates or LEARNED in candidates:
        raise ValueError(
            f'candidates must be fixed grids by name, at least one and none called "{LEARNED}", got {list(candidates)}'
        )
    grids = list(candidates.values())
    for name, levels in candidates.items():
        sampling.steps_of(levels)
        if levels.shape != grids[0].shape:
            raise ValueError(
                f"candidates must have one number of levels, got {levels.shape} for {name!r} and {grids[0].shape} "
                "before it"
            )
    last = grids[0][-1]
    for name, levels in (
        {repr(name): levels for name, levels in candidates.items()} | {"the reference": reference}
    ).items():
        ends = (levels[-1].alpha, last.alpha), (levels[-1].sigma, last.sigma)
        concrete = all(map(arrays.is_concrete, jax.tree.leaves(ends)))
        if concrete and not all(math.isclose(end, expected, rel_tol=1e-6) for end, expected in ends):
            raise ValueError(
                f"{name} ends at another level than the first candidate: end points can be compared at one level only"
            )
    return grids


def _row(choices: _Choice, row: Array) -> _Choice:
    choice: _Choice = jax.tree.map(lambda rows: rows[row], choices)
    return choice


def _least(errors: Array) -> Array:
    """The place of the least error; NaN is the largest."""
    return jnp.argmin(jnp.where(jnp.isnan(errors), jnp.inf, errors))


def _falls(levels: Level) -> Bool[Array, ""]:
    """Whether sigma/alpha falls strictly, which rounding may spoil, in numbers that are finite."""
    level, cleaner = levels[:-1], levels[1:]
    falling = jnp.all(level.sigma * cleaner.alpha > cleaner.sigma * level.alpha)
    return falling & jnp.all(jnp.isfinite(levels.t))
