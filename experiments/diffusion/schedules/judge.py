"""How the schedules are held against each other: seed by seed, on the same held-out digits, noise and draws."""

import dataclasses

import jax
import numpy as np

from experiments.diffusion import image_draws, image_judge, image_training
from experiments.diffusion.image_draws import Draws
from experiments.diffusion.image_judge import SEED, DigitsJudge, difference_of_means
from experiments.diffusion.schedules import bits as schedules_bits
from experiments.diffusion.schedules import figures, learned, train
from experiments.diffusion.schedules.config import Config, Thresholds
from experiments.diffusion.schedules.figures import Assessed, BySchedule
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.verdicts import Claim, Kind, Number, Relation
from gendiff.core.types import Params
from gendiff.diffusion import learned_schedule
from gendiff.diffusion.schedules import Schedule


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables from the checkpoints of the folder."""
    digits_judge, network = DigitsJudge(config.draws, config.draw_size), train.model(config)
    fixed, start = train.fixed(config), train.start(config)
    meter = schedules_bits.Meter(network, digits_judge.split.held_out_images, digits_judge.split.held_out_labels, config.bound_draws)
    draw = Draws(network, config.sampling_steps, config.together, progress)

    def judge(name: str, seed: int, params: Params, schedule: Schedule, samples: int) -> Assessed:
        params = jax.device_get(params)  # restored or not: one program serves both
        fixed_form = learned_schedule.frozen(schedule) if isinstance(schedule, learned_schedule.LearnedSchedule) else schedule
        with progress.phase("bits", seed=seed):
            bits = meter.bits(params, schedule, schedules_bits.position(fixed_form, config.cleanest))
            own = meter.bits(params, schedule, schedules_bits.own_end(schedule))
        with progress.phase("sample", seed=seed):
            images = draw(f"{name}, seed {seed}", params, samples, schedule=fixed_form)
        with progress.phase("judge", seed=seed):
            return Assessed(bits, own, digits_judge.measure(images, image_draws.labels(len(images), network.num_classes)))

    claims: list[Claim] = []
    names = [name for name in fixed if name != "loud"]
    assessed: BySchedule = {name: {} for name in (*names, "learned", "loud", "untrained")}
    shapes: dict[int, learned_schedule.LearnedSchedule] = {}
    spreads: list[tuple[int, Number, Number]] = []
    for number, seed in enumerate(config.seeds):
        for name in (*names, *(("loud",) if number < config.loud_seeds else ())):
            inside = image_training.inside(folder, name)
            params = image_training.averaged(network, inside, seed)
            assessed[name][seed] = judge(name, seed, params, fixed[name], config.samples)
        inside = image_training.inside(folder, "learned")
        both = image_training.averaged(dataclasses.replace(network, init=learned.init(network, start)), inside, seed)
        shapes[seed] = jax.device_get(both["schedule"])
        assessed["learned"][seed] = judge("learned", seed, both["network"], shapes[seed], config.samples)
        with progress.phase("bits", seed=seed):
            paths = (shapes[seed], learned.retold(fixed["linear"]), start)
            spreads.append((seed, *variance_ratios(*(meter.rates(jax.device_get(both["network"]), path) for path in paths))))
        blank = network.init(jax.random.key(seed))
        assessed["untrained"][seed] = judge("untrained", seed, blank, fixed["cosine"], config.control_samples)
        claims += _claims_of_seed(
            config.thresholds, digits_judge.floor, seed, {name: of[seed] for name, of in assessed.items() if seed in of}
        )
        claims += _variance_claims(config.thresholds, *spreads[-1], n=len(digits_judge.split.held_out_images))
    claims += _same(config.thresholds, digits_judge.floor, assessed["linear"])
    pictures = figures.plots(config, folder, fixed, shapes, assessed)
    tables = (figures.table(assessed), figures.over_seeds(assessed), figures.variances(spreads))
    return Outcome(tuple(claims), tuple(pictures), tables)


def variance_ratios(shaped: np.ndarray, linear: np.ndarray, start: np.ndarray) -> tuple[Number, Number]:
    """Of single draws (digits, draws) on the learned path over those on linear's and on the first one; intervals over the digits."""
    rng = np.random.default_rng(SEED)
    of_linear, of_start = (
        image_judge.interval(schedules_bits.variance_ratio, shaped, other, paired=True, rng=rng) for other in (linear, start)
    )
    return of_linear, of_start


def bits_difference(first: Assessed, second: Assessed) -> Number:
    """In bits per dimension; the interval over the held-out digits holds their draws as well."""
    return image_judge.interval(difference_of_means, first.bits.bits, second.bits.bits, paired=True)


def frechet_difference(first: Assessed, second: Assessed, floor: np.ndarray) -> Number:
    """In floors. Draw i takes the same samples of both, and sample i starts from the same noise."""
    rows = first.measured.distances, second.measured.distances, floor
    return image_judge.interval(_difference_in_floors, *rows, paired=True)


def _claims_of_seed(limits: Thresholds, floor: np.ndarray, seed: int, of: dict[str, Assessed]) -> list[Claim]:
    digits, samples = len(of["linear"].bits.bits), of["linear"].measured.n
    means = {name: float(np.mean(each.bits.bits)) for name, each in of.items() if name not in ("loud", "untrained")}
    worst = max(means, key=means.__getitem__)
    best = min(means.keys() - {"learned"}, key=means.__getitem__)
    frechet = frechet_difference(of["cosine"], of["linear"], floor)
    blank = of["untrained"]
    claims = [
        _claim(limits, seed, "cosine-frechet", "cosine less linear: Fréchet distance, in floors", frechet, "<=", samples),
        _claim(limits, seed, "cosine-bits", "cosine less linear: bits", bits_difference(of["cosine"], of["linear"]), "<=", digits),
        _claim(
            limits,
            seed,
            "learned-bits",
            "learned less the best fixed schedule: bits",
            bits_difference(of["learned"], of[best]),
            "<=",
            digits,
        ),
        _control(limits, seed, "untrained-bits", "untrained less the worst trained: bits", bits_difference(blank, of[worst]), digits),
        _control(limits, seed, "untrained-frechet", "untrained: Fréchet distance, in floors", blank.measured.frechet, blank.measured.n),
    ]
    if "loud" in of:
        ratio = image_judge.ratio(of["loud"].measured, of["cosine"].measured)
        statement = "a schedule that ends far from noise: Fréchet distance, in multiples of cosine's"
        claims.append(_control(limits, seed, "loud-frechet", statement, ratio, samples))
    return claims


def _variance_claims(limits: Thresholds, seed: int, linear: Number, start: Number, *, n: int) -> list[Claim]:
    statement = "learned: variance of a draw of the bound, in multiples of that"
    return [
        _claim(limits, seed, "variance-linear", f"{statement} on linear's path between the same ends", linear, "<=", n),
        _claim(limits, seed, "variance-start", f"{statement} on the schedule before training", start, "<=", n),
    ]


def _same(limits: Thresholds, floor: np.ndarray, linear: dict[int, Assessed]) -> list[Claim]:
    """Linear against linear of the next seed: what no schedule made."""
    claims = []
    seeds = list(linear)
    for seed, following in zip(seeds, seeds[1:], strict=False):
        one, other = linear[seed], linear[following]
        bits, frechet = verdicts.away(bits_difference(one, other)), verdicts.away(frechet_difference(one, other, floor))
        statement = "linear against linear of the next seed: difference of"
        claims += [
            _control(limits, seed, "same-bits", f"{statement} bits", bits, len(one.bits.bits), "<="),
            _control(limits, seed, "same-frechet", f"{statement} Fréchet distances, in floors", frechet, one.measured.n, "<="),
        ]
    return claims


def _claim(
    limits: Thresholds, seed: int, id: str, statement: str, number: Number, relation: Relation, n: int, kind: Kind = "claim"
) -> Claim:
    """The threshold is the field that is named like the claim."""
    return verdicts.against(limits, seed, id, statement, number, relation, id.replace("-", "_"), n=n, kind=kind)


def _control(limits: Thresholds, seed: int, id: str, statement: str, number: Number, n: int, relation: Relation = ">=") -> Claim:
    return _claim(limits, seed, id, statement, number, relation, n, kind="control")


def _difference_in_floors(first: np.ndarray, second: np.ndarray, floor: np.ndarray) -> float:
    return difference_of_means(first, second) / float(np.mean(floor))
