"""Can one tell texts that a key has marked from others, and at what cost?

    python -m experiments run watermark-text

Real text is scored under random keys. SmolLM2 then writes marked texts: how many are found, what they cost in
likelihood, and what is left after words were changed, deleted, cut off or written anew. A wrong key, and the common
mistake of counting every repeat, are the controls.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy

from experiments.provenance.watermark_text import attacks, marks, null, texts
from experiments.provenance.watermark_text.config import LIMIT, Config, check
from experiments.provenance.watermark_text.marks import GREEN, GUMBEL, KINDS, SLUGS, TOURNAMENT
from experiments.provenance.watermark_text.null import Null
from experiments.provenance.watermark_text.texts import Part
from gendiff.provenance import text_detection
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

IN_BYTES, REPEATS = "green list, bytes", "green list, bytes, every repeat"
MARKED, WRONG, STRONGEST = "marked texts", "marked texts with a wrong key", "strongest mark"
BY_MARK, BY_CHANGE, UNMARKED, BY_DELTA, BY_ENTROPY = "marks", "changes", "unmarked", "deltas", "entropies"
ANEW = "written anew"
GROUPS = 6
"""Of texts by their entropy."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """Of the texts of one part, or of several. z, wrong: (b,) with the key that marked them, and with another one. p:
    of the first.

    losses, entropies: (b,) means along the text, of the unmarked model, in nats. changed: by way and share, z of the
        changed texts.
    """

    part: Part
    z: np.ndarray
    p: np.ndarray
    wrong: np.ndarray
    losses: np.ndarray
    entropies: np.ndarray
    changed: Mapping[tuple[str, float], np.ndarray]


def detected(config: Config, folder: RunFolder, vocabulary: int) -> list[Seen]:
    """Every part. A text without a mark is looked at with the key that it would have had. vocabulary: of the model."""
    return [_seen(config, vocabulary, part, written) for part, written in texts.written(config, folder)]


def joined(parts: list[Seen], kind: str, delta: float, *, anew: float = 0.0, first: Config | None = None) -> Seen:
    """All texts of a kind as one. first: only those that every other kind has too, in the same order."""
    matches = [each for each in parts if (each.part.kind, each.part.delta, each.part.anew) == (kind, delta, anew)]
    if first is not None:
        matches = [each for each in matches if each.part.seed == first.seeds[0] and each.part.start < first.few]
    numbers = {
        name: np.concatenate([getattr(each, name) for each in matches])
        for name in ("z", "p", "wrong", "losses", "entropies")
    }
    return Seen(
        matches[0].part,
        changed={way: np.concatenate([each.changed[way] for each in matches]) for way in matches[0].changed},
        **numbers,
    )


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """The rank correlation; 0 where one of both is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(first, second).statistic)


def _seen(config: Config, vocabulary: int, part: Part, written: texts.Written) -> Seen:
    mark, other = (marks.build(config, part.kind, key, vocabulary) for key in (part.key, part.key ^ 1))
    right, wrong = (text_detection.detect(each, written.tokens) for each in (mark, other))
    rng, changed = np.random.default_rng((part.seed, part.start)), {}
    for way in attacks.WAYS:
        for share in config.changes:
            tokens = attacks.changed(way, written.tokens, share, vocabulary, rng)
            changed[way, share] = text_detection.detect(mark, tokens).z
    return Seen(part, right.z, right.p, wrong.z, written.losses.mean(1), written.entropies.mean(1), changed)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Everything, from the texts that training left."""
    chat = texts.opened(config)
    with progress.phase("null"):
        lines = {chat.network.vocabulary: null.ids(chat.tokenizer), null.BYTES: null.in_bytes()}
        yield from _without_mark(config, *_unmarked(config, lines))
    with progress.phase("detect"):
        parts = detected(config, folder, chat.network.vocabulary)
    yield from _claimed(config, parts)
    yield from _by_mark(config, parts)
    yield from _by_change(config, parts)
    yield from _curves(config, parts)


def _unmarked(config: Config, lines: dict[int, np.ndarray]) -> tuple[dict[str, Null], np.ndarray]:
    """Of each kind of mark on text in the model's tokens, of green lists on text in bytes, and those where every repeat
    counts.

    lines: real text as tokens, by the vocabulary: the model's, then bytes.
    """
    words, short = lines

    def pooled(kind: str, vocabulary: int) -> Null:
        rows = null.pieces(lines[vocabulary], config.tokens, config.null_texts)
        measured_nulls = [null.measured(config, kind, rows, vocabulary, seed) for seed in config.seeds]
        return Null(*(np.concatenate([getattr(each, name) for each in measured_nulls]) for name in ("z", "uniform")))

    unmarked = {kind: pooled(kind, words) for kind in KINDS} | {IN_BYTES: pooled(GREEN, short)}
    rows = null.pieces(lines[short], config.tokens, config.null_texts)
    return unmarked, null.with_repeats(config, rows, short, config.seeds[0])


def _without_mark(config: Config, unmarked: dict[str, Null], repeats: np.ndarray) -> Iterator[Measured]:
    spread = functools.partial(intervals.interval, np.std, resamples=config.resamples)
    z = {name: each.z for name, each in unmarked.items()} | {REPEATS: repeats}
    for name, each in z.items():
        measures: dict[str, Any] = {"texts": len(each), "mean z": each.mean(), "sd of z": each.std()}
        measures |= {"p of uniform p-values": unmarked[name].law} if name in unmarked else {}
        measures |= {"above": intervals.share(each > LIMIT), "spread": verdicts.away(spread(each), 1.0)}
        yield Measured(name, measures, n=len(each), group=UNMARKED)


def _claimed(config: Config, parts: list[Seen]) -> Iterator[Measured]:
    main, (plain, strong) = joined(parts, GREEN, config.delta), _same(config, parts, (0.0, config.deltas[-1]))
    n, paired = len(main.z), functools.partial(intervals.interval, paired=True, resamples=config.resamples)
    rank = paired(spearman, main.entropies, main.z)
    yield Measured(MARKED, {"detected": intervals.share(main.z > LIMIT), "entropy": rank}, n=n)
    yield Measured(WRONG, {"detected": intervals.share(main.wrong > LIMIT)}, n=n)
    cost = paired(intervals.difference_of_means, strong.losses, plain.losses)
    yield Measured(STRONGEST, {"cost": cost}, n=len(plain.z))
    middle = config.changes[len(config.changes) // 2]
    for way in attacks.WAYS:
        left = attacks.left(way, middle)
        off = verdicts.away(paired(intervals.ratio_of_means, main.changed[way, middle], main.z), left)
        yield Measured(f"tokens {way}", {"off": (off[0] / left, off[1] / left, off[2] / left)}, n=n)


def _same(config: Config, parts: list[Seen], deltas: tuple[float, ...]) -> list[Seen]:
    """The texts of the same prompts with green lists of these strengths."""
    return [joined(parts, GREEN, delta, first=config) for delta in deltas]


def _by_mark(config: Config, parts: list[Seen]) -> Iterator[Measured]:
    ways = [(GREEN, delta) for delta in (0.0, *config.deltas)] + [(GUMBEL, config.delta), (TOURNAMENT, config.delta)]
    for kind, delta in ways:
        part = joined(parts, kind, delta)
        name = f"{kind} mark" if kind != GREEN else f"{kind}, delta {delta:g}" if delta else "none"
        loss = float(part.losses.mean())
        measures = {
            "texts": len(part.z),
            "mean z": part.z.mean(),
            "found": np.mean(part.z > LIMIT),
            "median p": np.median(part.p),
        }
        measures |= {
            "nats per token": loss,
            "perplexity": np.exp(loss),
            "entropy along the text": part.entropies.mean(),
        }
        yield Measured(name, measures, n=len(part.z), group=BY_MARK)


def _by_change(config: Config, parts: list[Seen]) -> Iterator[Measured]:
    unchanged, (same,) = joined(parts, GREEN, config.delta), _same(config, parts, (config.delta,))
    changed = [(way, share, z, unchanged.z) for (way, share), z in unchanged.changed.items()]
    changed += [(ANEW, share, joined(parts, GREEN, config.delta, anew=share).z, same.z) for share in config.paraphrased]
    for way, share, z, before in changed:
        measures: dict[str, Any] = {"share of tokens": share, "texts": len(z), "mean z": z.mean()}
        measures |= {"of the whole": z.mean() / before.mean()}
        measures |= {} if way == ANEW else {"by the formula": attacks.left(way, share)}
        measures |= {"found": intervals.share(z > LIMIT)}
        yield Measured(way, measures, n=len(z), group=BY_CHANGE)


def _curves(config: Config, parts: list[Seen]) -> Iterator[Measured]:
    mean = functools.partial(intervals.interval, np.mean, resamples=config.resamples)
    deltas = (0.0, *config.deltas)
    for delta, part in zip(deltas, _same(config, parts, deltas), strict=True):
        measures: dict[str, Any] = {"delta": delta, "mean z": mean(part.z), "nats per token": mean(part.losses)}
        yield Measured(f"delta {delta:g}", measures, n=len(part.z), group=BY_DELTA)
    main = joined(parts, GREEN, config.delta)
    for number, rows in enumerate(np.array_split(np.argsort(main.entropies), min(GROUPS, len(main.z) // 2))):
        numbers: dict[str, Any] = {"entropy along the text": main.entropies[rows].mean(), "mean z": mean(main.z[rows])}
        yield Measured(f"group {number + 1}", numbers, n=len(rows), group=BY_ENTROPY)


def _curve(measured: Measurements, group: str, x: str, y: str, label: str) -> figures.Curve:
    rows = [each.measures for each in measured if each.group == group]
    return figures.Curve(label, np.array([each[x] for each in rows]), *np.array([each[y] for each in rows]).T)


def cost(measured: Measurements, folder: RunFolder) -> Figure:
    """Score and likelihood by the strength of the mark."""
    titles = ("mean z", "nats per token")
    panels = [figures.Panel(title, [_curve(measured, BY_DELTA, "delta", title, "green list")]) for title in titles]
    words = "what detection sees, and what the text costs under the unmarked model."
    caption = f"The same prompts with green lists of growing strength: {words}"
    return figures.small_multiples(panels, folder.figure("deltas"), caption, x_label="delta")


def changes(measured: Measurements, folder: RunFolder) -> Figure:
    """Shares of texts that are found."""
    bars = {"whole": measured.mean(MARKED, "detected")}
    rows = [each for each in measured if each.group == BY_CHANGE]
    bars |= {f"{each.measures['share of tokens']:g} {each.name}": each.measures["found"] for each in rows}  # type: ignore[misc]
    caption = f"Share of texts with z above {LIMIT:g} after changes of a share of their tokens: green lists."
    limits = [("threshold for whole texts", 0.95)]
    return figures.bars(bars, folder.figure("attacks"), caption, x_label="share found", thresholds=limits)


def entropy(measured: Measurements, folder: RunFolder) -> Figure:
    """Score by how sure the model is."""
    curve = _curve(measured, BY_ENTROPY, "entropy along the text", "mean z", "texts")
    caption = "Mean z of groups of equally many texts by the mean entropy of the unmarked model along them."
    return figures.curves([curve], folder.figure("entropy"), caption, x_label="nats per token", y_label="mean z")


FALSE = "3 of 2,000"
CLAIMS = (
    *(
        claim(name, "above", "<=", 0.0015, role="E34", reason=FALSE, id=f"false-positives-{SLUGS.get(name, 'bytes')}")
        for name in (*KINDS, IN_BYTES)
    ),
    claim(MARKED, "detected", ">=", 0.95, role="E34", reason="nearly all", id="found", figure="attacks.png"),
    claim(STRONGEST, "cost", ">=", 0.0, role="check", reason="a mark is not free", id="cost", figure="deltas.png"),
    claim(
        MARKED,
        "entropy",
        ">=",
        0.0,
        role="check",
        reason="a sure text holds no mark",
        id="entropy",
        figure="entropy.png",
    ),
    *(
        claim(
            f"tokens {way}",
            "off",
            "<=",
            0.15,
            role="check",
            reason="neighbours choose alone",
            id=f"changed-{slug}",
            figure="attacks.png",
        )
        for way, slug in zip(attacks.WAYS, ("replaced", "deleted", "cut"), strict=True)
    ),
)
CONTROLS = (
    control(REPEATS, "spread", against=IN_BYTES, by=">=", id="repeats"),
    control(WRONG, "detected", against=MARKED, by="<=", id="wrong-key", figure="attacks.png"),
)
ANSWER = Answer(
    text="yes: {found:.0%} of texts of 200 tokens are found; the strongest mark costs {cost:.2f} nats per token",
    statements={
        "E34": "The key finds {found:.2f interval} of marked texts of 200 tokens, "
        "and {replaced:.2f} after half of their tokens were replaced",
    },
    numbers={"replaced": Cell("What changes leave", ("replaced", 0.5), "found")},
    picture="attacks.png",
    before=(
        Change(
            "2026-11-30",
            "432542c",
            "A wrong key and repeats are compared with marked texts and with counting once; they shared a threshold "
            "with what they refute.",
            "A control is compared with its treatment. What a formula gives is a test: the law of unmarked text, and "
            "flat logits.",
        ),
    ),
)


_FEW: dict[str, Any] = {
    "null_texts": 40,
    "texts": 4,
    "few": 4,
    "together": 4,
    "tokens": 40,
    "prompt": 8,
    "resamples": 20,
}
STUDY = Study(
    name="watermark-text",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), tiny=True, **_FEW),
    train=texts.train,
    measure=measure,
    words={
        "above": f"share of unmarked texts with z above {LIMIT:g}",
        "spread": "distance of the standard deviation of z of unmarked texts from 1",
        "detected": f"share with z above {LIMIT:g}",
        "cost": "growth of the negative log-likelihood from no mark, nats per token",
        "entropy": "rank correlation of z with the mean entropy along the text",
        "off": "relative distance of the mean z from what the formula leaves of it",
    },
    claims=CLAIMS,
    controls=CONTROLS,
    figures=(changes, cost, entropy),
    tables={
        "": ("Numbers of the claims", ""),
        BY_MARK: (
            "Texts of the model by their mark",
            "Likelihood and entropy are those of the unmarked model along the text.",
        ),
        BY_CHANGE: ("What changes leave of green lists", ""),
        UNMARKED: ("Unmarked text under random keys", ""),
        BY_DELTA: ("The same prompts by the strength of the mark", ""),
        BY_ENTROPY: ("Texts by the entropy along them", ""),
    },
    answer=ANSWER,
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
