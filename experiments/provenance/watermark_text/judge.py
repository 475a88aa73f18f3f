"""The law of unmarked text, flat logits, texts that are found, their cost, and what changes leave, as claims."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.provenance.watermark_text import attacks, figures, findings, flat, null, texts
from experiments.provenance.watermark_text.config import Config
from experiments.provenance.watermark_text.findings import Seen
from experiments.provenance.watermark_text.marks import GREEN, KINDS, SLUGS
from experiments.provenance.watermark_text.null import Null
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

IN_BYTES = "green list, bytes"


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Everything, from the texts that training left."""
    chat = texts.opened(config)
    with progress.phase("null"):
        unmarked, repeats = _unmarked(config, {chat.network.vocabulary: null.ids(chat.tokenizer), null.BYTES: null.in_bytes()})
    with progress.phase("flat logits"):
        even = flat.measured(config)
    with progress.phase("detect"):
        seen = findings.seen(config, folder, chat.network.vocabulary)
    claims = [*_null_claims(config, unmarked, repeats), *_flat_claims(config, even), *_text_claims(config, seen)]
    shown = figures.every(config, folder, even, seen)
    tables = (figures.marks_table(config, seen), figures.changes_table(config, seen), figures.null_table(unmarked, repeats))
    return Outcome(tuple(claims), shown, tables)


def _unmarked(config: Config, lines: dict[int, np.ndarray]) -> tuple[dict[str, Null], np.ndarray]:
    """Of each kind of mark on text in the model's tokens, of green lists on text in bytes, and those where every repeat counts.

    lines: real text as tokens, by the vocabulary: the model's, then bytes.
    """
    words, short = lines

    def every(kind: str, vocabulary: int) -> Null:
        rows = null.pieces(lines[vocabulary], config.tokens, config.null_texts)
        found = [null.measured(config, kind, rows, vocabulary, seed) for seed in config.seeds]
        return Null(*(np.concatenate([getattr(each, name) for each in found]) for name in ("z", "uniform")))

    unmarked = {kind: every(kind, words) for kind in KINDS} | {IN_BYTES: every(GREEN, short)}
    rows = null.pieces(lines[short], config.tokens, config.null_texts)
    return unmarked, null.with_repeats(config, rows, short, config.seeds[0])


def _null_claims(config: Config, unmarked: dict[str, Null], repeats: np.ndarray) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    spread = functools.partial(intervals.interval, np.std, resamples=config.resamples)
    for name, of in unmarked.items():
        slug, n = SLUGS.get(name, "bytes"), len(of.z)
        mean = verdicts.away(intervals.interval(np.mean, of.z, resamples=config.resamples))
        yield claim(f"null-mean-{slug}", f"unmarked text, {name}: distance of the mean z from 0", mean, "<=", "null_mean", n=n)
        sd = verdicts.away(spread(of.z), 1.0)
        yield claim(f"null-sd-{slug}", f"unmarked text, {name}: distance of the standard deviation of z from 1", sd, "<=", "null_sd", n=n)
        law = f"unmarked text, {name}: p-value of a test that randomised p-values are uniform"
        yield claim(f"null-law-{slug}", law, of.law, ">=", "null_law", n=n)
        above = intervals.share(of.z > config.limit)
        statement = f"unmarked text, {name}: share with z above {config.limit:g}"
        yield claim(f"false-positives-{slug}", statement, above, "<=", "false_positives", n=n)
    wrong = verdicts.away(spread(repeats), 1.0)
    statement = "unmarked text in bytes where every repeat counts: distance of the standard deviation of z from 1"
    yield claim("repeats", statement, wrong, ">=", "null_sd", n=len(repeats), kind="control")


def _flat_claims(config: Config, even: dict[tuple[float, float, int], np.ndarray]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None, n=config.flat_texts, figure="flat.png")
    for (gamma, delta, length), ratios in even.items():
        off = verdicts.away(intervals.interval(np.mean, ratios, resamples=config.resamples), 1.0)
        statement = f"flat logits, gamma {gamma:g}, delta {delta:g}, {length} tokens: relative distance of the mean z from the formula"
        yield claim(f"flat-{gamma:g}-{delta:g}-{length}", statement, off, "<=", "flat")


def _text_claims(config: Config, seen: list[Seen]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    main = findings.joined(seen, GREEN, config.delta)
    found = f"share of texts of {config.tokens} tokens with z above {config.limit:g}: gamma {config.gammas[0]:g}, delta {config.delta:g}"
    n = len(main.z)
    yield claim("found", found, intervals.share(main.z > config.limit), ">=", n=n, figure="attacks.png")
    yield claim("wrong-key", f"{found}, with a wrong key", intervals.share(main.wrong > config.limit), "<=", "found", n=n, kind="control")
    plain, strong = (findings.joined(seen, GREEN, delta, first=config) for delta in (0.0, config.deltas[-1]))
    cost = intervals.interval(intervals.difference_of_means, strong.losses, plain.losses, paired=True, resamples=config.resamples)
    statement = f"growth of the negative log-likelihood from no mark to delta {config.deltas[-1]:g}, nats per token"
    yield claim("cost", statement, cost, ">=", n=len(plain.z), figure="deltas.png")
    rank = intervals.interval(findings.spearman, main.entropies, main.z, paired=True, resamples=config.resamples)
    yield claim("entropy", "rank correlation of z with the mean entropy along the text", rank, ">=", n=n, figure="entropy.png")
    middle = config.changes[len(config.changes) // 2]
    for way, slug in zip(attacks.WAYS, ("replaced", "deleted", "cut"), strict=True):
        off = verdicts.away(
            intervals.interval(intervals.ratio_of_means, main.changed[way, middle], main.z, paired=True, resamples=config.resamples),
            attacks.left(way, middle),
        )
        relative = tuple(end / attacks.left(way, middle) for end in off)
        statement = f"a share {middle:g} of the tokens {way}: relative distance of the mean z from what the formula leaves of it"
        yield claim(f"changed-{slug}", statement, (relative[0], relative[1], relative[2]), "<=", "changed", n=n, figure="attacks.png")
