"""Can a scaling law be fitted, and what do the published ones say? Approaches 1 to 3 on trainings whose law is known.

    python -m experiments run scaling-fit
    gendiff scaling-fit --data FILE.csv

The first command fits trainings that known laws make up: without noise it shows why parabolas (approach 2) miss the
best size, and with noise it counts how often bootstrap intervals hold the truth. Then it asks the published constants
for the best model of Chinchilla's budget, for the losses of GPT-3 and Chinchilla, and for what serving them costs; and
from published numbers of users and tokens, when serving has cost as much as training.
Nothing is trained. That fits recover the constants of losses without noise is a test (tests/scaling/fits).

The second command fits a table of trainings of one's own, with columns N, D or FLOP, and loss.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from gendiff.commands.scaling_fit import loss_plots
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Distinct, Positive, Seed, Several
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.scaling import accelerators, cost, fits, laws, price, published
from gendiff.scaling.fits import Points
from gendiff.scaling.laws import Chinchilla

OrdersOfMagnitude = Annotated[float, msgspec.Meta(ge=1e3, le=1e30)]
SPREAD, TARGET = 16.0, 1e24
"""Sizes lie between the best one over this and times this; operations to which approach 2 is extended."""
LAWS: Mapping[str, Any] = {
    "approach 1": published.HOFFMANN_1,
    "approach 2": published.HOFFMANN_2,
    "approach 3 as published": published.HOFFMANN,
    "approach 3 fitted again": published.EPOCH,
    "Kaplan, joint law": published.KAPLAN,
    "Kaplan, frontier": published.KAPLAN_FRONTIER,
}
SURFACES: Mapping[str, Chinchilla] = {
    "hoffmann": published.HOFFMANN,
    "epoch": published.EPOCH,
    "even": Chinchilla(1.7, 400.0, 400.0, 0.31, 0.31),  # falls with N as it does with D: its profiles are symmetric
    "uneven": Chinchilla(1.7, 600.0, 8.0, 0.46, 0.15),
}
SERVED = (0.0, 1.4e12, 1.4e13, 1.4e14)
"""Tokens over the life of a model as good as Chinchilla: none, as many as its training, ten and a hundred times as
many.
"""
GPT_4 = published.Trained("GPT-4", 280e9, 13e12, "reported by Patel and Wong, SemiAnalysis, 2023; active parameters")
TRAFFIC = ((1e8, 1e8, 1), (3.7, 15.0, 1), (300.0, 1500.0, 1))
"""Users per day, messages of each, and tokens per message, read and generated.

Messages: 2.6 billion per day of 700 million weekly users (Chatterji et al., 2025), and 15 per daily user (Patel and
Ahmad, SemiAnalysis, 2023, from memory). Tokens: a question and an answer of 285 (Zheng et al., 2023, from memory), and
an answer of 500 (You, Epoch AI, 2025) to 1,000 tokens of conversation, which is our guess.
"""
TRAINS, SERVES, HOUR = (0.32, 0.36), (0.05, 0.2), (1.0, 2.0)
"""Utilisation in training (Patel and Wong) and in serving (You: 0.1, or 0.05; twice 0.1 is our guess), and dollars per
hour of an A100 (Patel and Wong: 1; twice that is our guess).
"""
BEST, TRAINED, SERVING, PARABOLAS, NOISY = "best", "trained", "serving", "parabolas", "noisy"


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the noise and of the resamples."""
    budgets: Distinct[OrdersOfMagnitude] = (1e18, 1e19, 1e20, 1e21, 1e22)
    """Operations of the made trainings, rising."""
    sizes: Annotated[int, msgspec.Meta(ge=5, le=1000)] = 20
    """Numbers of parameters per budget."""
    noise: Positive = 0.01
    """Standard deviation of the log of a loss."""
    replicates: Several = 100
    """Sweeps per seed whose intervals are counted."""
    resamples: Several = 50
    """Bootstrap draws behind each of these intervals."""
    shown_resamples: Several = 200
    """Bootstrap draws behind the intervals of the table."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("budgets", config.budgets)
    if len(config.budgets) < 3:
        raise ConfigError(f"--budgets {ranges.as_typed(config.budgets)} must be three or more, rising")
    if config.budgets[-1] >= TARGET:
        raise ConfigError(
            f"--budgets {ranges.as_typed(config.budgets)} must stay below {TARGET:g} operations, to which fits are "
            "extended"
        )


def profiles(law: Chinchilla, budgets: tuple[float, ...], sizes: int, spread: float) -> Points:
    """Per budget so many sizes, evenly in their log, from the best one over `spread` to the best one times `spread`."""
    flops = np.repeat(np.array(budgets, np.float64), sizes)
    parameters = law.optimum(flops).parameters * np.tile(np.exp(_offsets(sizes, spread)), len(budgets))
    tokens = flops / (6 * parameters)
    return fits.points(parameters, tokens, np.asarray(law.loss(parameters, tokens)))


def noisy(points: Points, noise: float, rng: np.random.Generator) -> Points:
    """The same runs with normal noise in the log of the loss."""
    return fits.points(
        points.parameters, points.tokens, points.loss * np.exp(noise * rng.normal(size=len(points.loss)))
    )


def parabola_bias(law: Chinchilla, sizes: int, spread: float) -> float:
    """How many times too large the minimum of the parabola through such a profile is.

    At every budget the loss is a constant plus a factor times exp(-α u) / α + exp(β u) / β, with u = ln N - ln N*. So
    the minimum of the parabola through it misses N* by the same factor everywhere, and the exponent is exact.
    """
    u = _offsets(sizes, spread)
    bend, tilt, _ = np.polyfit(u, np.exp(-law.alpha * u) / law.alpha + np.exp(law.beta * u) / law.beta, 2)
    return math.exp(-tilt / (2 * bend))


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Published constants first, then fits of trainings that laws make up."""
    yield from of_published()
    yield from of_serving()
    with progress.phase("parabolas"):
        for name, law in SURFACES.items():
            yield _parabolas(config, name, law)
    with progress.phase("coverage"):
        yield from _coverage(config)
    with progress.phase("approaches"):
        yield from _approaches(config)


def of_published() -> Iterator[Measured]:
    """What follows from published numbers, so without intervals: best models of a budget, trained models, and the cost
    of serving.
    """
    for name, law in LAWS.items():
        best = law.optimum(published.CHINCHILLA_FLOPS)
        measures = {"exponent": float(law.exponent), **_billions(best), "ratio": float(best.tokens_per_parameter)}
        if math.isfinite(float(best.loss)):
            measures["loss"] = float(best.loss)
            measures["gap"] = _loss(law, published.GPT_3) - _loss(law, published.CHINCHILLA)
        measures["factor"] = math.exp(abs(math.log(float(best.parameters) / published.CHINCHILLA.parameters)))
        yield Measured(name, measures, group=BEST)
    for model in published.MODELS:
        beside = laws.overtraining(published.EPOCH, model.parameters, model.tokens)
        losses = {
            f"loss by {name}": _loss(LAWS[name], model)
            for name in ("approach 3 as published", "approach 3 fitted again")
        }
        sizes = {
            "parameters": model.parameters / 1e9,
            "tokens": model.tokens / 1e9,
            "ratio": float(beside.tokens_per_parameter),
        }
        price = {
            "token": float(cost.forward_flops(model.parameters)),
            "over": float(beside.flops_ratio),
            "spared": float(beside.parameters_ratio),
        }
        yield Measured(
            model.name, sizes | losses | {"loss by Kaplan": _loss(published.KAPLAN, model)} | price, group=TRAINED
        )
    best = laws.inference_aware(
        published.EPOCH, published.CHINCHILLA.parameters, published.CHINCHILLA.tokens, np.array(SERVED)
    )
    parameters, trainings = np.asarray(best.parameters), np.asarray(best.tokens)
    for tokens, size, trained in zip(SERVED, map(float, parameters), map(float, trainings), strict=True):
        sizes = {
            "parameters": size / 1e9,
            "tokens": trained / 1e9,
            "ratio": trained / size,
            "operations": 6 * size * trained + 2 * size * tokens,
        }
        yield Measured(
            f"{tokens / 1e9:g} billion tokens served", sizes | {"shrunk": size / float(parameters[0])}, group=SERVING
        )


def of_serving() -> Iterator[Measured]:
    """Days of serving until it has cost as much as training, from the ranges of published numbers."""
    traffic, flops = [(low, high, -power) for low, high, power in TRAFFIC], accelerators.A100.flops
    for model in (published.GPT_3, GPT_4, published.LLAMA_3_8B):
        tokens = float(price.break_even_tokens(model.tokens))
        days = price.product_interval((tokens, tokens, 1), (*TRAINS, -1), (*SERVES, 1), *traffic)
        yield Measured(f"{model.name}, by operations", {"days": days}, group="days")
    hours = float(cost.forward_flops(GPT_4.parameters)) / flops / price.HOUR
    days = price.product_interval((1e8, 1e8, 1), (hours, hours, -1), (*SERVES, 1), (*HOUR, -1), *traffic)
    yield Measured("GPT-4, for 100 million dollars", {"days": days}, group="days")


def _parabolas(config: Config, name: str, law: Chinchilla) -> Measured:
    points, best = profiles(law, config.budgets, config.sizes, SPREAD), float(law.optimum(TARGET).parameters)
    second, third = fits.fit_isoflop(points), fits.fit_parametric(points).law
    sizes = {
        f"size by approach {number}": float(fit.optimum(TARGET).parameters) / best
        for number, fit in ((2, second), (3, third))
    }
    measures: dict[str, Any] = {
        "alpha": law.alpha,
        "beta": law.beta,
        "exponent": float(law.exponent),
        "exponent by approach 2": float(second.exponent),
    }
    return Measured(f"surface {name}", measures | sizes, n=len(points), group=PARABOLAS)


def _coverage(config: Config) -> Iterator[Measured]:
    """How often bootstrap intervals of the exponent hold the truth."""
    law = published.EPOCH
    for level in (0.95, 0.5):
        for seed in config.seeds:
            points = profiles(law, config.budgets, config.sizes, SPREAD)
            counted = fits.coverage(
                law, points, config.noise, config.replicates, resamples=config.resamples, level=level, seed=seed
            )
            hits = intervals.share(np.arange(counted.replicates) < counted.hits)
            yield Measured(
                f"{level:.0%} intervals",
                {"coverage": hits, "width": float(counted.width)},
                seed,
                counted.replicates,
                "coverage",
            )


def _approaches(config: Config) -> Iterator[Measured]:
    """All approaches on one noisy sweep."""
    exact = profiles(published.EPOCH, config.budgets, config.sizes, SPREAD)
    points = noisy(exact, config.noise, np.random.default_rng(config.seeds[0]))
    truth = {
        "exponent": float(published.EPOCH.exponent),
        "size": float(published.EPOCH.optimum(TARGET).parameters) / 1e9,
    }
    yield Measured("the truth", truth, n=len(points), group=NOISY, arrays={"points": points})
    approaches: dict[str, Any] = {
        "approach 2, parabolas": fits.fit_isoflop,
        "approach 3, Huber": fits.fit_parametric(points),
        "least squares": fits.fit_parametric(points, delta=math.inf),
        "variable projection": fits.fit_varpro,
    }
    for name, fit in approaches.items():
        resampled = fits.bootstrap(points, fit, resamples=config.shown_resamples, seed=config.seeds[0])
        value, low, high = resampled.optimum(TARGET)
        size = (value / 1e9, low / 1e9, high / 1e9)
        yield Measured(name, {"exponent": resampled.interval("exponent"), "size": size}, n=len(points), group=NOISY)


def _isoflop(measured: Measurements, folder: RunFolder) -> Figure:
    points = next(each.arrays["points"] for each in measured if "points" in each.arrays)
    caption = "Losses that a law makes up with noise, the parabola of each budget, and its minimum."
    return loss_plots.isoflop(points, fits.fit_isoflop(points), folder.figure("isoflop"), caption)


def _surface(measured: Measurements, folder: RunFolder) -> Figure:
    caption = (
        "Loss as approach 3, fitted again, predicts it, models that were trained, and where each law has its optima."
    )
    optima = {name: law for name, law in LAWS.items() if name != "Kaplan, joint law"}
    places = {model.name: (model.parameters, model.tokens) for model in published.MODELS}
    return loss_plots.surface(published.EPOCH, folder.figure("surface"), caption, optima=optima, places=places)


def _optima(measured: Measurements, folder: RunFolder) -> Figure:
    budgets = np.logspace(18, 26, 33)
    series = [Curve(name, budgets, law.optimum(budgets).parameters) for name, law in LAWS.items()]
    caption = "The best number of parameters per budget of training, by published constants."
    options: Any = {"x_label": "operations of training", "y_label": "parameters", "log_x": True, "log_y": True}
    return figures.curves(series, folder.figure("optima"), caption, **options)


def _overtraining(measured: Measurements, folder: RunFolder) -> Figure:
    model = published.LLAMA_3_8B
    tokens = model.parameters * np.logspace(1, math.log10(1.2 * model.tokens / model.parameters), 60)
    beside = laws.overtraining(published.EPOCH, model.parameters, tokens)
    series = [
        Curve("operations of training, over the least for its loss", beside.tokens_per_parameter, beside.flops_ratio),
        Curve(
            "times cheaper to serve than the cheapest training", beside.tokens_per_parameter, beside.parameters_ratio
        ),
    ]
    marked = f"{model.name} has {model.tokens / model.parameters:.0f} tokens per parameter."
    caption = (
        "What a model of 8 billion parameters costs beside the best one of equal loss, by its tokens per "
        f"parameter. {marked}"
    )
    options: Any = {"x_label": "tokens per parameter", "y_label": "ratio", "log_x": True, "log_y": True}
    return figures.curves(series, folder.figure("overtraining"), caption, thresholds=[("equal", 1.0)], **options)


def _loss(law: Any, model: published.Trained) -> float:
    return float(law.loss(model.parameters, model.tokens))


def _billions(best: laws.Optimum) -> dict[str, float]:
    return {"parameters": float(best.parameters) / 1e9, "tokens": float(best.tokens) / 1e9}


def _offsets(sizes: int, spread: float) -> np.ndarray:
    return np.linspace(-math.log(spread), math.log(spread), sizes)


ANSWER = Answer(
    text="yes; for Chinchilla's operations (it has 70 billion parameters) the refitted law says {epoch:.0f} billion, "
    "Kaplan's {kaplan:.0f} billion",
    statements={
        "E16": "By its published constants it does: for Chinchilla's operations it asks for {near-kaplan:.1f} times "
        "Chinchilla's 70 billion parameters",
        "E17": "Approach 3, fitted again to the published data, has an exponent of {exponent:.2f} and a best size "
        "of {epoch:.0f} billion at Chinchilla's operations",
        "E18": "By the refitted law Chinchilla's loss is {better-epoch:.3f} nats below that of GPT-3; "
        "a token costs 175/70 = 2.5 times less",
        "E19": "Where ten times its training tokens are served, the cheapest model as good as Chinchilla has "
        "{shrunk:.2f} of its size",
        "E35": "At 100 million users per day serving has taken the operations of GPT-4's training after "
        "{weeks-operations:.0f interval} days, and cost 100 million dollars after {weeks-dollars:.0f interval}",
    },
    numbers={
        "epoch": Cell("The best model", ("approach 3 fitted again",), "parameters, billions"),
        "kaplan": Cell("The best model", ("Kaplan, frontier",), "parameters, billions"),
        "exponent": Cell("The best model", ("approach 3 fitted again",), "exponent"),
    },
    picture="surface.png",
    before=(
        Change(
            "2026-11-30",
            "057865d",
            "18 claims that are algebra or arithmetic left the page: fits of losses without noise, and 175 / 70.",
            "They are certain. Tests of the fits hold them.",
        ),
        Change(
            "2026-11-30",
            "057865d",
            "Kaplan's best size is a claim on statement E16. It was a control, which the page of a statement does not "
            "count.",
            "The essay says what it says of Kaplan's laws.",
        ),
        Change(
            "2026-11-30",
            "f9c0418",
            "Days until serving has cost as much as training, with two claims on statement E35, are new; no other "
            "number changed.",
            "The statement had no study.",
        ),
    ),
)
STUDY = Study(
    name="scaling-fit",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sizes=7, budgets=(1e18, 1e20, 1e22), replicates=4, resamples=8, shown_resamples=10),
    train=None,
    measure=measure,
    words={
        "exponent": "exponent",
        "parameters": "parameters, billions",
        "tokens": "tokens, billions",
        "ratio": "tokens per parameter",
        "gap": "predicted loss of GPT-3 less that of Chinchilla, nats",
        "factor": "factor between the best size at 5.76e23 operations and Chinchilla's 70 billion",
        "token": "operations per served token",
        "over": "training over the least for its loss",
        "spared": "size over that of the least training",
        "operations": "operations in total",
        "shrunk": "size over that without serving",
        "days": "days until serving has cost as much as training",
        "alpha": "α",
        "beta": "β",
        "size by approach 2": "approach 2: best size over the truth",
        "size by approach 3": "approach 3: best size over the truth",
        "coverage": "share of bootstrap intervals of the exponent that hold the truth",
        "width": "mean width",
        "size": "best size at 1e24 operations, billions",
    },
    claims=(
        claim(
            "Kaplan, frontier",
            "factor",
            ">=",
            1.5,
            role="E16",
            reason="half as much again is a different advice",
            id="near-kaplan",
        ),
        claim(
            "approach 3 fitted again",
            "factor",
            "<=",
            1.5,
            role="E17",
            reason="half as much again is a different advice",
            id="near-epoch",
        ),
        claim(
            "approach 3 fitted again",
            "gap",
            ">=",
            0.02,
            role="E18",
            reason="about twice what seeds scatter",
            id="better-epoch",
        ),
        claim(
            "approach 3 as published",
            "gap",
            ">=",
            0.02,
            role="E18",
            reason="about twice what seeds scatter",
            id="better-hoffmann",
        ),
        claim(
            "14000 billion tokens served",
            "shrunk",
            "<=",
            0.5,
            role="E19",
            reason="half of the size, half of the price",
            id="shrunk",
        ),
        *(
            claim(name, "days", "<=", 60.0, role="E35", reason="two months: longer is no matter of weeks", id=id)
            for name, id in (
                ("GPT-4, by operations", "weeks-operations"),
                ("GPT-4, for 100 million dollars", "weeks-dollars"),
            )
        ),
        claim(
            "surface uneven",
            "size by approach 2",
            ">=",
            1.2,
            role="check",
            reason="a parabola's bias in closed form is 1.30",
            id="biased-uneven",
        ),
        claim(
            "95% intervals",
            "coverage",
            ">=",
            0.8,
            role="check",
            reason="nominal 0.95; percentiles of few rows are narrow",
            id="coverage",
        ),
    ),
    controls=(
        control("50% intervals", "coverage", against="95% intervals", by="<=", margin=-0.2, id="coverage-half"),
        control("surface even", "size by approach 2", against="surface uneven", by="<=", margin=-0.1, id="biased-even"),
        control("Kaplan, joint law", "gap", against="approach 3 fitted again", by="<=", id="better-kaplan"),
        control("approach 3 as published", "factor", against="approach 3 fitted again", by=">=", id="near-hoffmann"),
    ),
    figures=(_surface, _isoflop, _optima, _overtraining),
    tables={
        BEST: (
            "The best model of 5.76e23 operations, by published constants",
            "Chinchilla itself has 70 billion parameters and 1400 billion "
            "tokens, GPT-3 175 and 300. Kaplan counts parameters without embeddings. Losses of two papers do not "
            "compare.",
        ),
        TRAINED: ("Models that were trained", "Models of other data and tokenisers have other losses than predicted."),
        SERVING: ("The cheapest model as good as Chinchilla, training and serving together", ""),
        PARABOLAS: (
            "Approach 2 without noise",
            "A parabola is symmetric and the profile of unequal exponents is not: the slope is right, and every size "
            "is off by one factor.",
        ),
        "days": (
            "When serving has cost as much as training",
            "100 million users per day. Intervals follow from the ranges of published numbers, taken as independent "
            "and log-normal. They are those of the sources, not of a measurement.",
        ),
        "coverage": ("How often intervals hold the truth", "Intervals are percentiles of a bootstrap."),
        NOISY: ("All approaches on one noisy sweep", "Intervals are percentiles of a bootstrap."),
    },
    answer=ANSWER,
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
