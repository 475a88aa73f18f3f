"""How fast is a language model served, and what bounds it?

    python -m experiments run serving

times steps of SmolLM2 for several numbers of texts and tokens, fits the two rates of the roofline to them, and says
what published machines could do at best. It also generates texts of unequal lengths, once in batches that wait for
their longest, once with refilled places. About 6 minutes on 2 cores.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import scipy

from experiments.language import real_model
from gendiff import language, networks, scaling
from gendiff.commands.chat import steps
from gendiff.core.errors import ConfigError
from gendiff.language import cache as caches
from gendiff.pipelines import Chat
from gendiff.runs import paired_timing, ranges
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Several, Some
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.weights import quantised

PROMPT = 16
"""Tokens of each prompt of the texts that are generated."""
ELSEWHERE = np.array([1, 8, 64, 512])
"""Texts at once on published machines, with 1,024 tokens of each."""
THIS, RATES, ARITHMETIC, WAIT, REFILLED = (
    "this machine",
    "two rates",
    "arithmetic alone",
    "batches that wait",
    "refilled places",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    batches: Some[Count] = (1, 2, 4, 8, 16)
    """Texts at once, from few to many."""
    contexts: Some[Annotated[int, msgspec.Meta(ge=8, le=8192)]] = (128, 512, 1024)
    """Tokens of each text that are read at a step, from few to many."""
    rounds: Several = 9
    """Times that everything is timed, in turn."""
    read_megabytes: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 540
    """Of the array whose sum measures the read bandwidth: as many as the parameters take, far more than a cache
    holds.
    """
    prompts: Count = 24
    """Texts that are generated with a batch of `places`."""
    places: Count = 8
    """Texts at once, for these."""
    longest: Annotated[int, msgspec.Meta(ge=4, le=1024)] = 96
    """Tokens of the longest of them; lengths are drawn evenly up to it."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""
    tiny: bool = False
    """Take a small network with random weights in place of SmolLM2: to see that everything runs."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.rising("batches", config.batches)
    ranges.rising("contexts", config.contexts)
    if config.prompts % config.places:
        raise ConfigError(f"--places {config.places} must divide --prompts {config.prompts}")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a model: parameters that a token is multiplied by, bytes of all, and bytes of the keys and values of one
    token.
    """

    parameters: float
    nbytes: float
    per_token: float


def sizes(chat: Chat) -> Sizes:
    """Counted from the arrays."""
    each = caches.nbytes(caches.full(chat.network, 1, 2).layers) / 2
    return Sizes(float(networks.count(chat.params)), float(quantised.nbytes(chat.params)), each)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Steps by batch and context, and texts of unequal lengths."""
    chat = real_model.opened(config.tiny)
    with progress.phase("steps"):
        step, large = steps.in_place(), jnp.ones((config.read_megabytes * 250_000,), jnp.float32)
        works: dict[Any, Any] = {"read": functools.partial(steps.jit(jnp.sum), large)}
        for context in config.contexts:
            for batch in config.batches:
                works[batch, context] = real_model.one_more(step, chat, batch, context, context - 1)
        seconds: dict[Any, np.ndarray] = {
            name: np.array(spent) for name, spent in paired_timing.timed(works, config.rounds).items()
        }
        read = large.nbytes / seconds.pop("read")
    yield from judge_steps(config, sizes(chat), seconds, read)
    with progress.phase("texts"):
        prompts = real_model.manual(chat, 8)[: PROMPT * config.prompts].reshape(-1, PROMPT)
        lengths = np.random.default_rng(0).integers(1, config.longest + 1, config.prompts)
        lengths[0] = config.longest
        spent = paired_timing.timed(generated(config, chat, prompts, lengths), max(2, config.rounds // 3))
    yield from judge_texts(config, lengths, *(np.array(spent[name]) for name in (WAIT, REFILLED)))


def judge_steps(
    config: Config, model: Sizes, seconds: Mapping[tuple[int, int], np.ndarray], read: np.ndarray
) -> Iterator[Measured]:
    """Of seconds (rounds,) of a step by (texts at once, tokens of each), and bytes per second (rounds,) of one sum."""
    medians = {pair: float(np.median(each)) for pair, each in seconds.items()}
    machine, bounds = fitted(model, medians)
    for ((batch, context), spent), bound in zip(medians.items(), bounds, strict=True):
        measures: dict[str, Any] = {
            "texts at once": batch,
            "tokens of each": context,
            "ms": 1e3 * spent,
            "fitted ms": 1e3 * bound,
        }
        yield Measured(
            f"{batch} × {context}", measures | {"tokens per second": batch / spent}, n=config.rounds, group="steps"
        )
    one, many = (config.batches[0], config.contexts[0]), (config.batches[-1], config.contexts[0])
    ratio = functools.partial(intervals.interval, intervals.median_of_ratios, paired=True, resamples=config.resamples)
    measures = {
        "bandwidth": ratio(model.nbytes / seconds[one], read),
        "gain": ratio(many[0] / seconds[many], one[0] / seconds[one]),
        "read bandwidth, measured, GB/s": float(np.median(read) / 1e9),
        "parameters": model.parameters,
        "bytes of keys and values per token": model.per_token,
    }
    yield Measured(THIS, measures, n=config.rounds, group="model")
    rates = {"GFLOP/s": machine.flops / 1e9, "GB/s": machine.bandwidth / 1e9}
    critical = float(scaling.roofline.critical_batch(machine, 4.0))
    measures = {"misfit": misfit(medians, bounds), **rates, "texts from which on arithmetic is the bound": critical}
    yield Measured(RATES, measures, n=len(medians), group="fits")
    alone, bounds = fitted(model, medians, memory=False)
    yield Measured(
        ARITHMETIC, {"misfit": misfit(medians, bounds), "GFLOP/s": alone.flops / 1e9}, n=len(medians), group="fits"
    )
    for other in scaling.accelerators.PUBLISHED:
        curve = scaling.roofline.serving_curve(
            ELSEWHERE, model.parameters, model.nbytes / 2, 1024 * model.per_token / 2, other
        )
        speeds = {f"{batch} at once": float(each) for batch, each in zip(ELSEWHERE, curve.throughput, strict=True)}
        yield Measured(other.name, speeds, group="elsewhere")


def fitted(
    model: Sizes, seconds: Mapping[tuple[int, int], float], *, memory: bool = True
) -> tuple[scaling.Accelerator, np.ndarray]:
    """The two rates whose bounds fit the seconds best, in logarithms, and these bounds. memory=False: arithmetic
    alone.
    """
    batches, contexts = np.array(list(seconds), float).T
    logs = np.log(list(seconds.values()))

    def bounds(rates: np.ndarray) -> np.ndarray:
        flops, bandwidth = np.exp(rates)
        if not memory:
            return 2 * batches * model.parameters / flops
        machine = scaling.Accelerator("this machine", float(flops), float(bandwidth))
        return np.asarray(
            scaling.roofline.step_time(batches, model.parameters, model.nbytes, contexts * model.per_token, machine)
        )

    start = np.log([5e10, 2e10])
    best = scipy.optimize.minimize(
        lambda rates: np.mean((np.log(bounds(rates)) - logs) ** 2), start, method="Nelder-Mead"
    ).x
    flops, bandwidth = np.exp(best)
    return scaling.Accelerator("this machine", float(flops), float(bandwidth)), bounds(best)


def misfit(seconds: Mapping[tuple[int, int], float], bounds: np.ndarray) -> float:
    """Median relative error of the bounds."""
    return float(np.median(np.abs(bounds / np.array(list(seconds.values())) - 1)))


def generated(config: Config, chat: Chat, prompts: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """Two works that generate texts of these lengths: in batches that wait for their longest, and with places that are
    refilled.
    """
    key, index, model = jax.random.key(0), np.arange(len(prompts)), real_model.next_logits(chat)
    room = prompts.shape[1] + config.longest
    empty = caches.full(chat.network, config.places, min(room, chat.network.context))
    together = steps.jit(language.generate, static_argnames=("max_tokens",))
    refilled = steps.jit(language.serve, static_argnames=("max_tokens",))

    def in_batches() -> Any:
        batches = [slice(start, start + config.places) for start in range(0, len(prompts), config.places)]
        return [
            together(
                key, model, empty, prompts[at], index[at], max_tokens=config.longest, num_tokens=lengths[at]
            ).tokens
            for at in batches
        ]

    def continuously() -> Any:
        return refilled(key, model, empty, prompts, index, max_tokens=config.longest, num_tokens=lengths).tokens

    return {WAIT: in_batches, REFILLED: continuously}


def judge_texts(config: Config, lengths: np.ndarray, waited: np.ndarray, refilled: np.ndarray) -> Iterator[Measured]:
    """Of lengths (texts,) and seconds (rounds,) of both ways."""
    measures: dict[str, dict[str, Any]] = {
        WAIT: {"steps": waiting(lengths, config.places)},
        REFILLED: {"faster": intervals.interval(intervals.median_of_ratios, waited, refilled, paired=True)},
    }
    for name, each in ((WAIT, waited), (REFILLED, refilled)):
        spent, tokens = float(np.median(each)), int(lengths.sum())
        numbers = {
            "texts": len(lengths),
            "at once": config.places,
            "tokens": tokens,
            "seconds": spent,
            "tokens per second": tokens / spent,
        }
        yield Measured(name, numbers | measures[name], n=len(each), group="texts")


def waiting(lengths: np.ndarray, places: int) -> int:
    """Steps of batches of `places` texts in turn, each of which goes on until its longest text ends."""
    return int(sum(lengths[start : start + places].max() for start in range(0, len(lengths), places)))


def plot(measured: Measurements, folder: RunFolder) -> Figure:
    """Measured and fitted milliseconds by the number of texts."""
    rows = [each.measures for each in measured if each.group == "steps"]
    curves = []
    for context in dict.fromkeys(row["tokens of each"] for row in rows):
        here = [row for row in rows if row["tokens of each"] == context]
        for name, label in (("ms", f"{context} tokens"), ("fitted ms", f"{context} tokens, fitted")):
            curves.append(figures.Curve(label, [row["texts at once"] for row in here], [row[name] for row in here]))
    options: Any = {"x_label": "texts at once", "y_label": "ms", "log_x": True, "log_y": True}
    return figures.curves(
        curves, folder.figure("steps"), "Milliseconds of a step, and the bounds that fit them.", **options
    )


_STEPS = "Steps on this machine"
EXPERIMENT = Study(
    name="serving",
    config=Config,
    presets={"full": Config()},
    smoke=Config((1, 2), (16, 32), rounds=2, read_megabytes=4, prompts=4, places=2, longest=6, resamples=20, tiny=True),
    train=None,
    measure=measure,
    words={
        "misfit": "median relative error of the fit to all steps",
        "bandwidth": "parameter bytes per second of a step of one text, over the read bandwidth",
        "gain": "tokens per second of the most texts over those of one",
        "faster": "seconds of batches that wait over theirs",
        "steps": "steps, each of a whole batch",
    },
    claims=(
        claim(
            RATES,
            "misfit",
            "<=",
            0.25,
            role="check",
            reason="the limit of a useful bound",
            id="misfit",
            figure="steps.png",
        ),
        claim(
            *(THIS, "bandwidth", ">=", 0.85),
            role="aim",
            reason="reading parameters bounds one text, and one plain sum reads as many bytes",
            id="bandwidth",
        ),
        claim(
            THIS,
            "gain",
            ">=",
            2.0,
            role="aim",
            reason="1 is no gain; the parameters that are read serve all texts",
            id="gain",
        ),
        claim(
            REFILLED,
            "faster",
            ">=",
            1.1,
            role="aim",
            reason="1 is no gain; rows of a batch that waits are idle",
            id="continuous",
        ),
    ),
    controls=(control(ARITHMETIC, "misfit", against=RATES, by=">=", id="arithmetic", figure="steps.png"),),
    figures=(plot,),
    tables={
        "steps": (f"{_STEPS}: medians.", ""),
        "model": ("This machine, and the model.", ""),
        "fits": ("Rates whose bounds fit the steps.", ""),
        "elsewhere": (
            "Tokens per second of this model in bfloat16, at best.",
            "Bounds by published rates, 1,024 tokens of each text: programs reach less, and overheads of a step, "
            "which a small model feels most, are left out.",
        ),
        "texts": ("Texts of unequal lengths.", ""),
    },
    answer=Answer(
        text="{one:.0f} tokens per second for one text, {sixteen:.0f} for 16; reading the parameters bounds one text, "
        "at {bandwidth:.0%} of the memory's rate",
        statements={
            "E38": "16 texts get {sixteen:.0f} tokens per second behind 128 tokens each and {long:.0f} behind 1,024: "
            "keys and values are read too"
        },
        numbers={
            "one": Cell(_STEPS, (1, 128), "tokens per second"),
            "sixteen": Cell(_STEPS, (16, 128), "tokens per second"),
            "long": Cell(_STEPS, (16, 1024), "tokens per second"),
        },
        picture="steps.png",
        before=(
            Change(
                "2026-11-26",
                "4c18bbb",
                "A first full run, not committed, failed the fit of two rates.",
                "Attention to many keys took several times as long as reading them (mended in 8069e46), and a timed "
                "step copied its cache.",
            ),
            Change(
                "2026-11-26",
                "8e6cdd7",
                "A timed step writes its cache in place.",
                "A step that kept the old cache copied all of it, which no loop of generate does.",
            ),
            Change(
                "2026-11-30",
                "a402b00",
                "The fit of arithmetic alone is compared with that of two rates, no longer with its limit.",
                "A control that shares the limit of its claim says nothing of their difference.",
            ),
        ),
    ),
    more={"check": check},
).experiment()
