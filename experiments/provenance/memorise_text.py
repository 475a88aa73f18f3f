"""What does a language model remember word for word?

    python -m experiments run memorise-text

Random canaries are put into Python's manual 1 to 32 times, and two small models of bytes learn it. Whether greedy
decoding after a part of a canary gives the rest grows with its copies, with the size of the model and with the length
of the part. Canaries that were never trained on are the control.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from experiments.provenance import logistic
from gendiff import language, networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Params
from gendiff.data import text
from gendiff.provenance import extraction
from gendiff.runs import devices, ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Natural, Positive, Seed, Several, Some
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.training import optimizers

SMALL, LARGE = 0, 1
SIZES = ("smaller", "larger")
EMA = 0.98
"""Decay per step of the parameter average that is judged."""
MODEL, OFTEN, UNSEEN = "larger model", "canaries with most copies", "unseen canaries"
BY_COPIES, P_VALUES = "copies", "p-values"
Width = Annotated[int, msgspec.Meta(ge=8, le=2048, multiple_of=8)]
Depth = Annotated[int, msgspec.Meta(ge=1, le=64)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of canaries and of training; each trains both models."""
    copies: Distinct[Annotated[int, msgspec.Meta(ge=1, le=1024)]] = (1, 2, 4, 8, 16, 32)
    """How often canaries stand in the text."""
    canaries: Count = 8
    """How many canaries stand there as often as each of these numbers."""
    unseen: Several = 128
    """Canaries that stand nowhere."""
    candidates: Several = 1023
    """Random texts of the form of a canary, among which each has its rank."""
    letters: Annotated[int, msgspec.Meta(ge=3, le=64)] = 24
    """Random lower-case letters of a canary."""
    suffix: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """How many of the last ones the model has to give."""
    prefixes: Distinct[Annotated[int, msgspec.Meta(ge=1, le=64)]] = (2, 4, 8, 16)
    """How many letters before them it is given."""
    rows: Count = 800
    """Rows of text; each holds one canary at most."""
    length: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 128
    """Bytes of a row."""
    widths: Some[Width] = (48, 96)
    """Channels of a token in the smaller and the larger model."""
    depths: Some[Depth] = (2, 3)
    """Blocks of each."""
    train_steps: Count = 300
    """Optimizer steps."""
    batch: Count = 16
    """Rows of text per step."""
    learning_rate: Positive = 3e-3
    """Peak learning rate of AdamW, to which it warms up linearly; then it falls along a cosine."""
    warmup: Natural = 50
    """Steps until the learning rate peaks."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("copies", "prefixes", "widths"):
        ranges.rising(name, getattr(config, name))
        if len(getattr(config, name)) < 2:
            words = f"--{name} {ranges.as_typed(getattr(config, name))} must be two or more"
            raise ConfigError(f"{words}: what grows with them is asked for")
    if len(config.widths) != 2 or len(config.depths) != 2:
        words = f"--widths {ranges.as_typed(config.widths)} and --depths {ranges.as_typed(config.depths)}"
        raise ConfigError(f"{words} must be those of two models")
    if config.prefixes[-1] + config.suffix > config.letters:
        words = f"--prefixes {ranges.as_typed(config.prefixes)} and --suffix {config.suffix}"
        raise ConfigError(f"{words} are more than --letters {config.letters}")
    ranges.at_most("letters", config.letters, "length", config.length)
    if (needed := config.canaries * sum(config.copies)) > config.rows:
        words = f"--rows {config.rows} are fewer than the {needed} copies"
        raise ConfigError(f"{words} of --canaries {config.canaries} by --copies")
    ranges.at_most("batch", config.batch, "rows", config.rows)
    if config.warmup >= config.train_steps:
        raise ConfigError(
            f"--warmup {config.warmup} must be below --train-steps {config.train_steps}: both count steps"
        )


@dataclasses.dataclass(frozen=True)
class Corpus:
    """What a seed trains on, and what its models are asked.

    rows: (rows, length + 1) ids. seen: (n, letters) canaries in them, with their copies (n,). unseen: (m, letters)
        others.
    candidates: (c, letters) random texts of the same form.
    """

    rows: np.ndarray
    seen: np.ndarray
    copies: np.ndarray
    unseen: np.ndarray
    candidates: np.ndarray


def corpus(config: Config, seed: int) -> Corpus:
    """Random rows of Python's manual; each copy of a canary takes the place of some letters in a row of its own."""
    rng, rows = np.random.default_rng(seed), manual(config)
    if len(rows) < config.rows:
        raise ConfigError(
            f"--rows {config.rows} are more than the {len(rows)} of --length {config.length} that Python's manual has"
        )
    rows = rows[rng.permutation(len(rows))[: config.rows]]
    copies = np.repeat(config.copies, config.canaries)
    shape = len(copies) + config.unseen + config.candidates, config.letters
    letters = rng.integers(ord("a"), ord("z") + 1, shape).astype(np.int32)
    trained_texts, unseen, candidates = np.split(letters, [len(copies), len(copies) + config.unseen])
    copied = np.repeat(trained_texts, copies, 0)
    positions = rng.permutation(config.rows)[: len(copied), None]
    start = rng.integers(1, config.length + 2 - config.letters, (len(copied), 1))
    rows[positions, start + np.arange(config.letters)] = copied
    return Corpus(rows, trained_texts, copies, unseen, candidates)


def network(config: Config, size: int) -> networks.LanguageModel:
    """The smaller or the larger model."""
    vocabulary, width, depth = language.tokens.plain().size, config.widths[size], config.depths[size]
    return networks.LanguageModel(vocabulary=vocabulary, context=config.length, width=width, depth=depth, heads=4)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Both models with every seed, on the same rows."""
    for size, name in enumerate(SIZES):
        progress.line(f"train the {name} model")
        model = network(config, size)
        averages: dict[str, Any] = {"ema": (EMA,), "ema_warm_up": True}
        program = training_loop.compile_loss(_loss(model), _adamw(config), _start(model), folder, **averages)
        for seed in config.seeds:
            training_loop.train(
                program,
                language.Texts(corpus(config, seed).rows),
                seed=seed,
                steps=config.train_steps,
                batch=config.batch,
                folder=folder.inside(name),
                progress=progress,
                checkpoint_every=100,
                log_every=10,
            )


def restore(config: Config, folder: RunFolder, size: int, seed: int) -> Params:
    """The averaged parameters of one model."""
    where = folder.inside(SIZES[size])
    return training_loop.restore_ema(_start(network(config, size)), where, seed=seed, decay=EMA)


def manual(config: Config) -> np.ndarray:
    """All rows of Python's manual (n, length + 1)."""
    tokenizer = language.tokens.plain()
    ids = [tokenizer.encode(each) for each in text.python_manual().texts]
    return text.rows(ids, config.length + 1, tokenizer.size - 1)


@functools.lru_cache  # one object, so that all trainings of a network share a compiled step
def _loss(model: networks.LanguageModel) -> Loss:
    return language.objective.next_token(networks.pure(model))


@functools.lru_cache
def _start(model: networks.LanguageModel) -> Callable[[jax.Array], Params]:
    return lambda key: networks.init(model, key, np.zeros((1, 2), np.int32))


@functools.lru_cache
def _adamw(config: Config) -> optax.GradientTransformation:
    numbers: dict[str, Any] = {"warmup": config.warmup, "total": config.train_steps, "weight_decay": 0.01}
    return optimizers.adamw(config.learning_rate, clip=1.0, **numbers)


@dataclasses.dataclass(frozen=True)
class Found:
    """Of one model and seed.

    extracted: (prefixes, canaries) whether greedy decoding gives the suffix of each canary in the text; unseen: the
        same of the others.
    exposure, unseen_exposure: (canaries,) in bits.
    """

    extracted: np.ndarray
    unseen: np.ndarray
    exposure: np.ndarray
    unseen_exposure: np.ndarray


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Every model with every seed."""
    corpora = [corpus(config, seed) for seed in config.seeds]
    models: list[list[Found]] = []
    for size, name in enumerate(SIZES):
        predict = _predict(config, size)
        with progress.phase(f"judge {name}"):
            params = [restore(config, folder, size, seed) for seed in config.seeds]
            pairs = zip(params, corpora, strict=True)
            models.append([_found(config, functools.partial(predict, each), texts) for each, texts in pairs])
    with progress.phase("claims"):
        for seed, texts, large in zip(config.seeds, corpora, models[LARGE], strict=True):
            yield from _seed(config, seed, large, texts.copies)
        yield _pooled(config, models)
        yield from _rows(config, models)


def _predict(config: Config, size: int) -> Callable[[Any, jax.Array], jax.Array]:
    """(parameters, tokens) -> logits."""
    predict = networks.pure(network(config, size))
    return devices.jit(lambda params, tokens: predict(params, tokens).logits)


def _found(config: Config, predict: Callable[[jax.Array], jax.Array], texts: Corpus) -> Found:
    all_texts = np.concatenate([texts.seen, texts.unseen])
    known = len(texts.seen)
    ends = {prefix: all_texts[:, config.letters - config.suffix - prefix :] for prefix in config.prefixes}
    extracted = np.stack([extraction.discoverable(predict, end, prefix).extracted for prefix, end in ends.items()])
    likelihood = log_likelihood(predict, np.concatenate([all_texts, texts.candidates]))
    exposure = extraction.exposure(likelihood[: len(all_texts)], likelihood[len(all_texts) :])
    return Found(extracted[:, :known], extracted[:, known:], exposure[:known], exposure[known:])


def log_likelihood(predict: Callable[[jax.Array], jax.Array], tokens: np.ndarray) -> np.ndarray:
    """(n,) of all letters but the first one."""
    inputs = jnp.asarray(tokens)
    logs = jax.nn.log_softmax(predict(inputs)[:, :-1], 2)
    return np.asarray(jnp.take_along_axis(logs, inputs[:, 1:, None], 2)[..., 0].sum(1), np.float64)


def _seed(config: Config, seed: int, large: Found, copies: np.ndarray) -> Iterator[Measured]:
    x, hits, n = np.log2(copies), large.extracted[-1], len(copies)
    yield Measured(MODEL, {"slope": logistic.interval(x, hits, config.resamples)}, seed, n)
    yield Measured(MODEL, logistic.p_values(x, hits), seed, n, P_VALUES)
    most = hits[copies == config.copies[-1]]
    yield Measured(OFTEN, {"extracted": intervals.share(most)}, seed, len(most))
    bits = intervals.interval(np.mean, large.unseen_exposure, resamples=config.resamples)
    measures = {"extracted": intervals.share(large.unseen[-1]), "bias": verdicts.away(bits, extraction.UNSEEN)}
    yield Measured(UNSEEN, measures, seed, len(large.unseen_exposure))


def _pooled(config: Config, models: list[list[Found]]) -> Measured:
    """Canaries of all seeds together; each is asked of both models and after all prefixes."""
    small, large = (np.concatenate([each.extracted for each in model], 1).astype(np.float64) for model in models)
    options: dict[str, Any] = {"paired": True, "resamples": config.resamples}
    difference = functools.partial(intervals.interval, intervals.difference_of_means, **options)
    measures = {"larger": difference(large[-1], small[-1]), "longer": difference(large[-1], large[0])}
    return Measured(MODEL, measures, n=large.shape[1])


def _rows(config: Config, models: list[list[Found]]) -> Iterator[Measured]:
    """Means over seeds, by copies; canaries stand in the order of their copies."""

    def means(values: list[np.ndarray]) -> np.ndarray:
        """(copies, …) of (…, canaries) of all seeds."""
        rows = np.stack(values)
        return rows.reshape(*rows.shape[:-1], len(config.copies), config.canaries).mean((0, -1)).T

    extracted = np.stack([means([each.extracted for each in model]) for model in models], -1)
    exposure = np.stack([means([each.exposure for each in model]) for model in models], -1)
    extracted = np.concatenate(
        [[np.mean([[each.unseen.mean(1) for each in model] for model in models], 1).T], extracted]
    )
    exposure = np.concatenate([[[np.mean([each.unseen_exposure for each in model]) for model in models]], exposure])
    for copies, letters, bits in zip((0, *config.copies), extracted, exposure, strict=True):
        measures: dict[str, float] = {"copies": copies}
        for size, name in enumerate(SIZES):
            measures |= {f"{name} extracted": float(letters[-1, size]), f"{name} exposure": float(bits[size])}
        arrays = {"extracted": letters, "exposure": bits, "prefixes": config.prefixes, "candidates": config.candidates}
        yield Measured(f"{copies} copies", measures, n=len(models[0]) * config.canaries, group=BY_COPIES, arrays=arrays)


def extracted(measured: Measurements, folder: RunFolder) -> Figure:
    """By copies, of two models and some lengths of what they are given."""
    rows, curves = [each for each in measured if each.group == BY_COPIES][1:], []
    prefixes, copies = rows[0].arrays["prefixes"], np.array([each.measures["copies"] for each in rows])
    for size, at in ((LARGE, -1), (LARGE, len(prefixes) // 2), (LARGE, 0), (SMALL, -1)):
        shares = np.array([each.arrays["extracted"][at, size] for each in rows])
        curves.append(figures.Curve(f"{SIZES[size]} model, {prefixes[at]} letters given", copies, shares))
    caption = "Share of canaries whose last letters greedy decoding gives, against their copies: means over seeds."
    labels: Any = {"x_label": "copies", "y_label": "share extracted", "log_x": True}
    return figures.curves(curves, folder.figure("extraction"), caption, **labels)


def exposed(measured: Measurements, folder: RunFolder) -> Figure:
    """By copies, of both models."""
    rows = [each for each in measured if each.group == BY_COPIES][1:]
    copies = np.array([each.measures["copies"] for each in rows])
    bits = np.stack([each.arrays["exposure"] for each in rows], 1)
    curves = [figures.Curve(f"{name} model", copies, each) for name, each in zip(SIZES, bits, strict=True)]
    count = rows[0].arrays["candidates"]
    most = f"It cannot exceed {np.log2(count + 1):.1f} bits: there are {count} candidates."
    caption, path = f"Mean exposure of canaries against their copies. {most}", folder.figure("exposure")
    labels: Any = {"x_label": "copies", "y_label": "exposure in bits", "log_x": True}
    return figures.curves(curves, path, caption, **labels, thresholds=(("unseen", extraction.UNSEEN),))


CLAIMS = (
    claim(
        MODEL, "slope", ">=", 0.0, role="E32", reason="copies change nothing at 0", id="slope", figure="extraction.png"
    ),
    claim(MODEL, "longer", ">=", 0.01, role="E33", reason="a tie is not enough", id="longer", figure="extraction.png"),
    claim(
        MODEL, "larger", ">=", 0.01, role="check", reason="a tie is not enough", id="larger", figure="extraction.png"
    ),
    claim(
        UNSEEN,
        "bias",
        "<=",
        0.5,
        role="check",
        reason="its rank is random",
        id="unseen-exposure",
        figure="exposure.png",
    ),
)
CONTROLS = (control(UNSEEN, "extracted", against=OFTEN, by="<=", id="unseen-extracted", figure="extraction.png"),)
ANSWER = Answer(
    text="what it reads often: random letters that stand 32 times in the text come back in {often:.0%} of cases, "
    "those that stand 4 times in {seldom:.0%}",
    statements={
        "E32": "Random letters come back in {often:.2f} of cases where they stand 32 times in the text, "
        "in {some:.2f} where 8 times, in {seldom:.2f} where 4 times",
        "E33": "Given 16 letters of the beginning instead of 2, the model completes a share "
        "{longer:.2f interval} more of the texts word for word",
    },
    numbers={
        "often": Cell("Canaries of which", (32,), "larger: extracted"),
        "some": Cell("Canaries of which", (8,), "larger: extracted"),
        "seldom": Cell("Canaries of which", (4,), "larger: extracted"),
    },
    before=(
        Change(
            "2026-11-27",
            "2ef2479",
            "A pilot with another seed led to 300 steps instead of 600, and to width 48 instead of 32.",
            "The pilot extracted every canary of two copies or more, so that nothing was left to grow with copies.",
        ),
        Change(
            "2026-11-30",
            "057865d",
            "Unseen canaries are compared with those that have most copies, where they had to stay below 0.05.",
            "A control is compared with its treatment. p-values repeat what the interval of a slope says: they are in "
            "a table.",
        ),
    ),
)

_TINY: dict[str, Any] = {
    "train_steps": 4,
    "warmup": 1,
    "batch": 4,
    "rows": 60,
    "length": 32,
    "letters": 12,
    "suffix": 4,
    "prefixes": (2, 8),
    "copies": (1, 4),
    "canaries": 4,
    "unseen": 8,
    "candidates": 31,
    "widths": (8, 16),
    "depths": (1, 1),
}

STUDY = Study(
    name="memorise-text",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, **_TINY),
    train=train,
    measure=measure,
    words={
        "slope": "slope of the log-odds that the larger model gives a canary away on log2 of its copies",
        "likelihood": "p-value of the slope by likelihood ratio",
        "permuted": "p-value of the slope by permutation",
        "longer": "share of canaries given away after the longest prefix, less that after the shortest",
        "larger": "share of canaries given away, less that of the smaller model",
        "extracted": "share of canaries that the larger model gives away",
        "bias": f"distance in bits of the mean exposure from {extraction.UNSEEN:.2f}",
        **{f"{name} extracted": f"{name}: extracted" for name in SIZES},
        **{f"{name} exposure": f"{name}: exposure in bits" for name in SIZES},
    },
    claims=CLAIMS,
    controls=CONTROLS,
    figures=(extracted, exposed),
    tables={
        "": ("Numbers of the claims", ""),
        BY_COPIES: ("Canaries of which most letters are given, means over seeds", ""),
        P_VALUES: ("Whether copies matter, by other tests", ""),
    },
    answer=ANSWER,
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
