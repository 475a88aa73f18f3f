"""How the schedules are held against each other, seed by seed, on the same held-out digits, noise and draws; and what that shows."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from experiments.diffusion import image_draws, image_judge
from experiments.diffusion.image_draws import Draws
from experiments.diffusion.image_judge import DigitsJudge, MeasuredSet
from experiments.diffusion.schedules import bits as schedules_bits
from experiments.diffusion.schedules import train
from experiments.diffusion.schedules.config import Config, Thresholds
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.diffusion import learned_schedule
from gendiff.diffusion.elbo import Bound
from gendiff.diffusion.learned_schedule import LearnedSchedule
from gendiff.diffusion.schedules import Schedule
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Cell, Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Assessed:
    """One network on one schedule: bits from the common cleanest level, and from the schedule's own."""

    bits: Bound
    own: Bound
    measured: MeasuredSet


BySchedule = dict[str, dict[int, Assessed]]
"""By schedule and seed."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables from the checkpoints of the folder."""
    digits_judge, network = DigitsJudge(config.draws, config.draw_size), train.model(config)
    fixed, start, floor, split = train.fixed(config), train.start(config), digits_judge.floor, digits_judge.split
    meter = schedules_bits.Meter(network, split.held_out_images, split.held_out_labels, config.bound_draws)
    draw = Draws(network, config.sampling_steps, config.together, progress)

    def judge(name: str, seed: int, params: Params, schedule: Schedule, samples: int) -> None:
        params = jax.device_get(params)  # restored or not: one program serves both
        fixed_form = learned_schedule.frozen(schedule) if isinstance(schedule, LearnedSchedule) else schedule
        with progress.phase("bits", seed=seed):
            bits = meter.bits(params, schedule, schedules_bits.position(fixed_form, config.cleanest))
            own = meter.bits(params, schedule, schedules_bits.own_end(schedule))
        with progress.phase("sample", seed=seed):
            images = draw(f"{name}, seed {seed}", params, samples, schedule=fixed_form)
        with progress.phase("judge", seed=seed):
            measured = digits_judge.measure(images, image_draws.labels(len(images), network.num_classes))
        assessed[name][seed] = Assessed(bits, own, measured)

    claims: list[Claim] = []
    assessed: BySchedule = {name: {} for name in (*config.names, "learned", "loud", "untrained")}
    shapes: dict[int, LearnedSchedule] = {}
    spreads: list[tuple[int, Number, Number]] = []
    for number, seed in enumerate(config.seeds):
        for name in (*config.names, *(("loud",) if number < config.loud_seeds else ())):
            params = image_training.averaged(network, folder.inside(name), seed)
            judge(name, seed, params, fixed[name], config.samples)
        both = image_training.averaged(train.with_schedule(config), folder.inside("learned"), seed)
        shapes[seed] = jax.device_get(both["schedule"])
        judge("learned", seed, both["network"], shapes[seed], config.samples)
        with progress.phase("bits", seed=seed):
            paths = (shapes[seed], train.RetoldSchedule(fixed["linear"]), start)
            spreads.append((seed, *variance_ratios(*(meter.rates(jax.device_get(both["network"]), path) for path in paths))))
        judge("untrained", seed, network.init(jax.random.key(seed)), fixed["cosine"], config.control_samples)
        of_seed = {name: of[seed] for name, of in assessed.items() if seed in of}
        claims += _claims_of_seed(config.thresholds, floor, *spreads[-1], of_seed)
    claims += _same(config.thresholds, floor, assessed["linear"])
    return Outcome(tuple(claims), _plots(config, folder, fixed, shapes, assessed), _tables(assessed, spreads))


def variance_ratios(shaped: np.ndarray, linear: np.ndarray, start: np.ndarray) -> tuple[Number, Number]:
    """Of single draws (digits, draws) on the learned path over those on linear's and on the first one; intervals over the digits."""
    ratio = functools.partial(intervals.interval, lambda one, other: float(np.var(one) / np.var(other)), shaped)
    rng = np.random.default_rng(intervals.SEED)
    return ratio(linear, paired=True, rng=rng), ratio(start, paired=True, rng=rng)


def _bits_difference(first: Assessed, second: Assessed) -> Number:
    """In bits per dimension; the interval over the held-out digits holds their draws as well."""
    return intervals.interval(intervals.difference_of_means, first.bits.bits, second.bits.bits, paired=True)


def _frechet_difference(first: Assessed, second: Assessed, floor: np.ndarray) -> Number:
    """In floors. Draw i takes the same samples of both, and sample i starts from the same noise."""
    rows = first.measured.distances, second.measured.distances, floor
    return intervals.interval(
        lambda one, other, floor: intervals.difference_of_means(one, other) / float(np.mean(floor)), *rows, paired=True
    )


def _claims_of_seed(
    limits: Thresholds, floor: np.ndarray, seed: int, linear: Number, start: Number, of: Mapping[str, Assessed]
) -> Iterator[Claim]:
    """linear, start: the two of `variance_ratios`."""
    claim = functools.partial(verdicts.against, limits, seed, relation="<=")
    control = functools.partial(verdicts.against, limits, seed, relation=">=", kind="control")
    digits, samples, untrained = len(of["linear"].bits.bits), of["linear"].measured.n, of["untrained"]
    means = {name: float(np.mean(each.bits.bits)) for name, each in of.items() if name not in ("loud", "untrained")}
    worst = of[max(means, key=means.__getitem__)]
    best = of[min(means.keys() - {"learned"}, key=means.__getitem__)]
    frechet = _frechet_difference(of["cosine"], of["linear"], floor)
    yield claim("cosine-frechet", "cosine less linear: Fréchet distance, in floors", frechet, n=samples)
    yield claim("cosine-bits", "cosine less linear: bits", _bits_difference(of["cosine"], of["linear"]), n=digits)
    yield claim("learned-bits", "learned less the best fixed schedule: bits", _bits_difference(of["learned"], best), n=digits)
    yield control("untrained-bits", "untrained less the worst trained: bits", _bits_difference(untrained, worst), n=digits)
    frechet = untrained.measured.frechet
    yield control("untrained-frechet", "untrained: Fréchet distance, in floors", frechet, n=untrained.measured.n)
    if "loud" in of:
        statement = "a schedule that ends far from noise: Fréchet distance, in multiples of cosine's"
        yield control("loud-frechet", statement, image_judge.ratio(of["loud"].measured, of["cosine"].measured), n=samples)
    statement = "learned: variance of a draw of the bound, in multiples of that"
    yield claim("variance-linear", f"{statement} on linear's path between the same ends", linear, n=digits)
    yield claim("variance-start", f"{statement} on the schedule before training", start, n=digits)


def _same(limits: Thresholds, floor: np.ndarray, linear: Mapping[int, Assessed]) -> Iterator[Claim]:
    """Linear against linear of the next seed: what no schedule made."""
    statement = "linear against linear of the next seed: difference of"
    for (seed, one), (_, other) in itertools.pairwise(linear.items()):
        control = functools.partial(verdicts.against, limits, seed, relation="<=", kind="control")
        bits, frechet = verdicts.away(_bits_difference(one, other)), verdicts.away(_frechet_difference(one, other, floor))
        yield control("same-bits", f"{statement} bits", bits, n=len(one.bits.bits))
        yield control("same-frechet", f"{statement} Fréchet distances, in floors", frechet, n=one.measured.n)


def _plots(
    config: Config, folder: RunFolder, fixed: Mapping[str, Schedule], shapes: Mapping[int, LearnedSchedule], assessed: BySchedule
) -> tuple[Figure, ...]:
    """Four figures; those of losses and bars hold every schedule and seed."""
    u = np.linspace(1 / config.levels, 1.0, 400)
    paths = {name: fixed[name] for name in config.names} | {f"learned, seed {seed}": shape for seed, shape in shapes.items()}
    curves = [figures.Curve(name, u, np.asarray(path.at(np.float32(u)).log_snr)) for name, path in paths.items()]
    trained = {name: of for name, of in assessed.items() if name != "untrained" and of}
    losses = [image_training.loss_curve(name, folder.inside(name), config.seeds[0], "mse") for name in trained]
    bits, frechet = _by_seed(trained, lambda of: schedules_bits.interval(of.bits)), _by_seed(assessed, lambda of: of.measured.frechet)
    of_snr = "log-SNR against u: the learned schedules start and end where linear does."
    of_bits = "Bits per dimension of held-out digits given their label; whiskers are the error of the draws alone."
    of_frechet = "Fréchet distance of samples; the floor, 1, is training digits against held-out ones."
    of_loss = "Mean squared error of the velocity in training, first seed: each schedule's own mix of levels, so no ranking."
    error, floors = "squared error of the velocity", "Fréchet distance to held-out digits, in floors"
    return (
        figures.curves(curves, folder.figure("log_snr"), of_snr, x_label="u", y_label="log-SNR"),
        figures.bars(bits, folder.figure("bits"), of_bits, x_label="bits per dimension, an upper bound"),
        figures.bars(frechet, folder.figure("frechet"), of_frechet, x_label=floors, log=True),
        figures.curves(losses, folder.figure("loss"), of_loss, x_label="step", y_label=error, log_y=True),
    )


def _by_seed(assessed: BySchedule, number: Callable[[Assessed], Number]) -> dict[str, Number]:
    return {f"{name}, seed {seed}": number(of) for name, seeds in assessed.items() for seed, of in seeds.items()}


def _tables(assessed: BySchedule, spreads: list[tuple[int, Number, Number]]) -> tuple[Table, ...]:
    """Every network; mean and range over the seeds, which the intervals of single networks leave out; and the variances of the draws."""
    every: list[tuple[Cell, ...]] = []
    over_seeds: list[tuple[Cell, ...]] = []
    for name, seeds in assessed.items():
        for seed, of in seeds.items():
            parts = (float(np.mean(part)) for part in (of.bits.prior, of.bits.diffusion, of.bits.reconstruction))
            judged = (of.measured.frechet, of.measured.accuracy, of.measured.precision, of.measured.recall)
            every.append((name, seed, schedules_bits.interval(of.bits), *parts, schedules_bits.interval(of.own), *judged))
        pairs = zip(*((schedules_bits.interval(of.bits)[0], of.measured.frechet[0]) for of in seeds.values()), strict=True)
        if numbers := [number for of in pairs for number in (float(np.mean(of)), min(of), max(of))]:
            over_seeds.append((name, len(seeds), *numbers))
    terms, judged_by = ("bits", "prior", "diffusion", "decoder", "bits, own ends"), ("Fréchet / floor", "judge", "precision", "recall")
    title = "Every network: bits per dimension with the error of the draws, and samples against held-out digits"
    range_of = ("schedule", "seeds", "bits, mean", "least", "largest", "Fréchet / floor, mean", "least", "largest")
    columns = ("seed", "in multiples of linear's path", "in multiples of the first schedule")
    return (
        Table(title, ("schedule", "seed", *terms, *judged_by), tuple(every)),
        Table("Over the seeds", range_of, tuple(over_seeds)),
        Table("Variance of a draw of the bound on the learned schedule, same network and ends", columns, tuple(spreads)),
    )
