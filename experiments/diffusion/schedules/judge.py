"""How the schedules are held against each other: seed by seed, on the same held-out digits, noise and draws."""

from typing import Any

import jax
import numpy as np

from experiments.diffusion import image_draws, image_judge, image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.schedules import bits as schedules_bits
from experiments.diffusion.schedules import figures, learned
from experiments.diffusion.schedules.figures import Judged
from experiments.framework import training_loop
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.verdicts import Claim, Number
from gendiff.core.types import Params
from gendiff.diffusion import learned_schedule
from gendiff.diffusion.schedules import Schedule
from gendiff.metrics import bootstrap


def evaluate(
    config: Any, model: Model, fixed: dict[str, Schedule], start: learned_schedule.LearnedSchedule, folder: RunFolder, progress: Progress
) -> Outcome:
    """Claims, figures and tables from the checkpoints of the folder."""
    bench = image_judge.Bench(config.draws, config.draw_size)
    meter = schedules_bits.Meter(model, bench.split.held_out_images, bench.split.held_out_labels, config.bound_draws)
    draw = image_draws.Draws(model, config.sampling_steps, config.together, progress)

    def judge(name: str, seed: int, params: Params, schedule: Schedule, samples: int) -> Judged:
        params = jax.device_get(params)  # restored or not: one program serves both
        fixed_form = learned_schedule.frozen(schedule) if isinstance(schedule, learned_schedule.LearnedSchedule) else schedule
        with progress.phase("bits", seed=seed):
            bits = meter.bits(params, schedule, schedules_bits.position(fixed_form, config.cleanest))
            own = meter.bits(params, schedule, schedules_bits.own_end(schedule))
        with progress.phase("sample", seed=seed):
            images = draw(f"{name}, seed {seed}", params, samples, schedule=fixed_form)
        with progress.phase("judge", seed=seed):
            return Judged(bits, own, bench.measure(images, image_draws.labels(len(images), model.num_classes)))

    claims: list[Claim] = []
    names = [name for name in fixed if name != "loud"]
    found: dict[str, dict[int, Judged]] = {name: {} for name in (*names, "learned", "loud", "untrained")}
    shapes: dict[int, learned_schedule.LearnedSchedule] = {}
    spreads: list[tuple[int, Number, Number]] = []
    for number, seed in enumerate(config.seeds):
        for name in (*names, *(("loud",) if number < config.loud_seeds else ())):
            inside = image_training.inside(folder, name)
            params = training_loop.restore_ema(model.init, inside, seed=seed, decay=model.ema)
            found[name][seed] = judge(name, seed, params, fixed[name], config.samples)
        inside = image_training.inside(folder, "learned")
        both = training_loop.restore_ema(learned.init(model, start), inside, seed=seed, decay=model.ema)
        shapes[seed] = jax.device_get(both["schedule"])
        found["learned"][seed] = judge("learned", seed, both["network"], shapes[seed], config.samples)
        with progress.phase("bits", seed=seed):
            paths = (shapes[seed], learned.retold(fixed["linear"]), start)
            spreads.append((seed, *variance_ratios(*(meter.rates(jax.device_get(both["network"]), path) for path in paths))))
        blank = model.init(jax.random.key(seed))
        found["untrained"][seed] = judge("untrained", seed, blank, fixed["cosine"], config.control_samples)
        claims += _claims_of_seed(config.thresholds, bench, seed, {name: of[seed] for name, of in found.items() if seed in of})
        claims += _variance_claims(config.thresholds, *spreads[-1], n=len(bench.split.held_out_images))
    claims += _same(config.thresholds, bench, found["linear"])
    pictures = figures.plots(config, folder, fixed, shapes, found)
    tables = (figures.table(found), figures.over_seeds(found), figures.variances(spreads))
    return Outcome(tuple(claims), tuple(pictures), tables)


def variance_ratios(shaped: np.ndarray, linear: np.ndarray, start: np.ndarray) -> tuple[Number, Number]:
    """Of single draws (digits, draws) on the learned path over those on linear's and on the first one; intervals over the digits."""
    rng = np.random.default_rng(image_judge.SEED)
    return tuple(_paired(rng, schedules_bits.variance_ratio, shaped, other) for other in (linear, start))  # type: ignore[return-value]


def bits_difference(first: Judged, second: Judged) -> Number:
    """In bits per dimension; the interval over the held-out digits holds their draws as well."""
    return _paired(np.random.default_rng(image_judge.SEED), _difference, first.bits.bits, second.bits.bits)


def frechet_difference(first: Judged, second: Judged, floor: np.ndarray) -> Number:
    """In floors. Draw i takes the same samples of both, and sample i starts from the same noise."""
    rows = first.measured.distances, second.measured.distances, floor
    return _paired(np.random.default_rng(image_judge.SEED), _difference_in_floors, *rows)


def _claims_of_seed(limits: Any, bench: image_judge.Bench, seed: int, of: dict[str, Judged]) -> list[Claim]:
    digits, samples = len(of["linear"].bits.bits), of["linear"].measured.n
    means = {name: float(np.mean(each.bits.bits)) for name, each in of.items() if name not in ("loud", "untrained")}
    worst = max(means, key=means.__getitem__)
    best = min(means.keys() - {"learned"}, key=means.__getitem__)
    frechet = frechet_difference(of["cosine"], of["linear"], bench.floor)
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
        ratio = bench.ratio(of["loud"].measured, of["cosine"].measured)
        statement = "a schedule that ends far from noise: Fréchet distance, in multiples of cosine's"
        claims.append(_control(limits, seed, "loud-frechet", statement, ratio, samples))
    return claims


def _variance_claims(limits: Any, seed: int, linear: Number, start: Number, *, n: int) -> list[Claim]:
    statement = "learned: variance of a draw of the bound, in multiples of that"
    return [
        _claim(limits, seed, "variance-linear", f"{statement} on linear's path between the same ends", linear, "<=", n),
        _claim(limits, seed, "variance-start", f"{statement} on the schedule before training", start, "<=", n),
    ]


def _same(limits: Any, bench: image_judge.Bench, linear: dict[int, Judged]) -> list[Claim]:
    """Linear against linear of the next seed: what no schedule made."""
    claims = []
    seeds = list(linear)
    for seed, following in zip(seeds, seeds[1:], strict=False):
        one, other = linear[seed], linear[following]
        bits, frechet = verdicts.away(bits_difference(one, other)), verdicts.away(frechet_difference(one, other, bench.floor))
        statement = "linear against linear of the next seed: difference of"
        claims += [
            _control(limits, seed, "same-bits", f"{statement} bits", bits, len(one.bits.bits), "<="),
            _control(limits, seed, "same-frechet", f"{statement} Fréchet distances, in floors", frechet, one.measured.n, "<="),
        ]
    return claims


def _claim(limits: Any, seed: int, id: str, statement: str, number: Number, relation: Any, n: int, kind: Any = "claim") -> Claim:
    """The threshold is the field that is named like the claim."""
    return verdicts.against(limits, seed, id, statement, number, relation, id.replace("-", "_"), n=n, kind=kind)


def _control(limits: Any, seed: int, id: str, statement: str, number: Number, n: int, relation: Any = ">=") -> Claim:
    return _claim(limits, seed, id, statement, number, relation, n, kind="control")


def _paired(rng: np.random.Generator, statistic: Any, *rows: np.ndarray) -> Number:
    return bootstrap.interval(rng, statistic, *rows, paired=True).number


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first) - np.mean(second))


def _difference_in_floors(first: np.ndarray, second: np.ndarray, floor: np.ndarray) -> float:
    return _difference(first, second) / float(np.mean(floor))
