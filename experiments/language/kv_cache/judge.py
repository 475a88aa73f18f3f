"""Equalities, programs, times and bytes of caches, as claims."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.language.kv_cache import timing
from experiments.language.kv_cache.config import Config
from experiments.language.kv_cache.exactness import Model, mistaken
from gendiff import language
from gendiff.commands.chat import models, steps
from gendiff.data import text
from gendiff.language import cache as caches
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

BATCH, AHEAD = 4, 8
"""Texts read together, and tokens that follow each of them."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Everything, on SmolLM2's weights and Python's own manual."""
    chat = models.tiny(context=512) if config.tiny else models.opened()
    model = Model(chat.network, chat.params)
    ids = chat.tokenizer.encode("\n".join(text.python_manual().texts[:40]))
    claims = list[Claim]()
    for seed in config.seeds:
        with progress.phase("equalities", seed=seed):
            claims += _equalities(config, model, _passage(ids, config, seed), seed)
    lengths = config.lengths
    with progress.phase("programs"):
        counted = timing.programs(model, ids[:64], config.steps, config.steps)
    with progress.phase("times"):
        spent = timing.seconds(model, ids[: lengths[-1]], lengths, config.rounds)
    with progress.phase("8 bits"):
        change = _change_by_int8(config, model, ids)
    slopes = {way: timing.exponent(lengths, spent[way], config.resamples) for way in spent}
    held = caches.nbytes(caches.full(chat.network, 2, lengths[-1]).layers)
    formula = timing.formula_bytes(chat.network, 2, lengths[-1])
    claim = functools.partial(verdicts.against, config.thresholds, None)
    every = f"programs that are compiled for {config.steps} tokens, one by one"
    exponent = "exponent of the time of one more token in the length of the text"
    claims += [
        claim("programs", every, float(counted), "<=", n=config.steps),
        claim("flat", f"{exponent}, with a cache", slopes[timing.CACHED], "<=", n=config.rounds, figure="times.png"),
        claim("growing", f"{exponent}, without", slopes[timing.WHOLE], ">=", n=config.rounds, kind="control", figure="times.png"),
        claim("bytes", "bytes of a cache of two texts less those of the formula", float(abs(held - formula)), "<=", n=1),
        claim("int8", "change of the negative log-likelihood by keys and values in 8 bits, nats per token", change, "<=", n=config.judged),
    ]
    return Outcome(tuple(claims), (_plot(config, spent, folder),), (_times(config, spent), _sizes(chat.network, lengths[-1])))


def _passage(ids: np.ndarray, config: Config, seed: int) -> np.ndarray:
    """BATCH texts (BATCH, n) that follow one another somewhere in the manual."""
    length = config.tokens + AHEAD
    start = int(np.random.default_rng(seed).integers(len(ids) - BATCH * length))
    return ids[start : start + BATCH * length].reshape(BATCH, length)


def _equalities(config: Config, model: Model, texts: np.ndarray, seed: int) -> Iterator[Claim]:
    network, n, window = model.network, config.tokens, config.window
    one, expected = texts[0, :n], model.whole(texts)
    first = expected[0, :n]
    room = texts.shape[1]
    same = functools.partial(verdicts.against, config.thresholds, seed, relation="<=", threshold="same")
    wrong = functools.partial(verdicts.against, config.thresholds, seed, relation=">=", threshold="wrong", kind="control", n=1)
    full = functools.partial(caches.full, network, 1, room)

    splits = max(model.walked(full(), one, first, split) for split in range(1, n))
    yield same("splits", f"largest difference of logits over every split of {n} tokens into read and generated", splits, n=n - 1)
    lengths = np.linspace(1, n, BATCH, dtype=np.int32)
    together = model.ragged(caches.full(network, BATCH, room), texts, expected, lengths, AHEAD)
    yield same("ragged", f"the same for {BATCH} texts of unequal lengths, and {AHEAD} tokens behind each", together, n=BATCH)
    chunked = max(model.in_chunks(full(), one, first, chunk) for chunk in config.chunks)
    yield same("chunks", f"the same where {', '.join(map(str, config.chunks))} tokens are read at once", chunked, n=len(config.chunks))
    forgotten = max(model.forgetting(full(), one, first, kept, AHEAD, True) for kept in (1, n // 2, n - AHEAD))
    yield same("rewound", f"the same after {AHEAD} wrong tokens that were taken back", forgotten, n=3)
    stale = model.forgetting(caches.full(network, 1, n + AHEAD), one, first, n // 2, AHEAD, False)
    yield wrong("not-rewound", "the same where they were not taken back", stale)

    narrow = Model(network.clone(window=window), model.params).whole(texts[:1, :n])[0]
    ring = caches.ring(network, 1, room, window=window, slack=n)
    seen = max(model.walked(ring, one, narrow, split) for split in (1, window, n - 1))
    yield same("window", f"the same in a ring of the last {window} tokens, against a network with that window", seen, n=3)
    local = model.walked(mistaken(full(), window), one, narrow, 1)
    yield wrong("local-window", f"the same where the first {window} slots are shown instead of the last ones", local)

    paged = functools.partial(caches.paged, network, 1, room, pages=2 + -(-room // 8), page=8)
    order = np.random.default_rng(seed).permutation(np.arange(1, 2 + -(-room // 8)))
    in_pages = max(model.walked(paged(order=order), one, first, split) for split in (1, n // 2, n - 1))
    yield same("pages", "the same in pages of 8 tokens in a random order", in_pages, n=3)


def _change_by_int8(config: Config, model: Model, ids: np.ndarray) -> verdicts.Number:
    """The absolute difference of the mean over tokens, with an interval over tokens."""
    line, score = ids[None, : config.judged], steps.jit(language.scoring.log_probs)
    losses = [-np.asarray(score(model.next_logits, kind(model.network, 1, config.judged), line))[0] for kind in (caches.full, caches.int8)]
    value, low, high = intervals.interval(intervals.difference_of_means, losses[1], losses[0], paired=True, resamples=config.resamples)
    return abs(value), (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _plot(config: Config, spent: dict[str, np.ndarray], folder: RunFolder) -> Figure:
    curves = [figures.Curve(way, config.lengths, 1e3 * np.median(seconds, 1)) for way, seconds in spent.items()]
    caption = "Milliseconds of one more token, by the number of tokens before it."
    options: Any = {"x_label": "tokens before", "y_label": "ms", "log_x": True, "log_y": True}
    return figures.curves(curves, folder.figure("times"), caption, **options)


def _times(config: Config, spent: dict[str, np.ndarray]) -> Table:
    rows = timing.table_rows(config.lengths, spent)
    return Table("Milliseconds of one more token: medians.", ("tokens before", timing.CACHED, timing.WHOLE), rows, main=True)


def _sizes(network: Any, capacity: int) -> Table:
    kinds: dict[str, Any] = {
        "all tokens": caches.full(network, 1, capacity),
        "all tokens, 8 bits": caches.int8(network, 1, capacity),
        "a window of 128 and 4 sinks": caches.ring(network, 1, capacity, window=128, sinks=4),
    }
    rows = tuple((name, caches.nbytes(cache.layers)) for name, cache in kinds.items())
    return Table(f"Bytes of the cache of one text of up to {capacity} tokens.", ("kind", "bytes"), rows)
