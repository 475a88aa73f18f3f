"""How the instruct experiment judges: the small model before and after tuning, the tunings that go wrong, and SmolLM2 beside them."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.language import replies
from experiments.language.replies import Marks
from experiments.preferences.instruct import findings, orders, train
from experiments.preferences.instruct.config import Config
from experiments.preferences.instruct.findings import FRAME, PLAIN, TEMPLATE, Small
from experiments.preferences.instruct.train import BASE, ENDLESS, SHUFFLED, TUNED, TUNINGS
from gendiff.preferences import instruction
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

SHOWN = 12
"""Questions of the table."""
NAMES = {
    BASE: "before tuning",
    TUNED: "tuned",
    SHUFFLED: "control: responses of other orders",
    ENDLESS: "control: no loss on the end",
}


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the networks that training left and from SmolLM2."""
    found, large = findings.small(config, folder, progress), findings.large(config, progress)
    made = [claim for seed, of in zip(config.seeds, found, strict=True) for claim in of_seed(config, seed, of)]
    return Outcome((*made, *of_smollm2(config, large)), _figures(folder, found, large), tables(config, found, large))


def of_seed(config: Config, seed: int, found: Small) -> Iterator[Claim]:
    """The claims of the small model of one seed."""
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=len(found.stated), figure="orders.png")
    before, tuned = found.marked[BASE], found.marked[TUNED]
    yield claim(
        "continues",
        "orders after which the small model goes on with a further order before tuning",
        intervals.share(before.continues),
        ">=",
    )
    yield claim("before", "orders to which it gives a response and ends before tuning", intervals.share(before.responds), "<=")
    yield claim("answers", "orders to which it gives a response and ends after tuning", intervals.share(tuned.responds), ">=")
    yield claim("right", "held-out orders that it answers rightly, and ends, after tuning", intervals.share(tuned.right), ">=")
    control = functools.partial(claim, kind="control")
    yield control("shuffled", "the same after tuning on responses of other orders", intervals.share(found.marked[SHUFFLED].right), "<=")
    responds = intervals.share(found.marked[ENDLESS].responds)
    yield control("endless", "orders to which it gives a response and ends after tuning without loss on the end", responds, "<=")


def of_smollm2(config: Config, large: dict[str, Marks]) -> Iterator[Claim]:
    """The claims of SmolLM2."""
    given = findings.asked(config)
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(given), figure="questions.png")
    useful = [(large[frame].right & large[frame].ended).astype(np.float64) for frame in (TEMPLATE, PLAIN)]
    interval = functools.partial(intervals.interval, resamples=config.resamples)
    yield claim("template", "questions that SmolLM2 answers rightly in its chat template", intervals.share(large[TEMPLATE].right), ">=")
    gain = interval(intervals.difference_of_means, *useful, paired=True)
    yield claim("gained", "share that it answers rightly and ends, in the template less as plain text", gain, ">=")
    chance = interval(np.mean, replies.of_others(large[TEMPLATE].texts, given))
    yield claim("others", "share of the other questions whose answers such a reply holds", chance, "<=", kind="control")


def tables(config: Config, found: list[Small], large: dict[str, Marks]) -> tuple[Table, ...]:
    """All tables."""
    return _stages(config, found), _checked(config), _orders(config, found), _questions(config, large)


def _figures(folder: RunFolder, found: list[Small], large: dict[str, Marks]) -> tuple[Figure, ...]:
    of_orders = {
        f"{NAMES[name]}: {what}": intervals.share(np.concatenate([getattr(of.marked[name], field) for of in found]))
        for name in (BASE, *TUNINGS)
        for what, field in (("responds and ends", "responds"), ("rightly", "right"))
    }
    of_questions = {
        f"{frame}: {what}": intervals.share(hits)
        for frame in (PLAIN, FRAME, TEMPLATE)
        for what, hits in (("holds the answer", large[frame].right), ("ends by itself", large[frame].ended))
    }
    caption = "Share of held-out orders to which the small model replies with a response and its end, all seeds."
    shown = "Share of the questions whose reply by SmolLM2 holds the answer, and of the replies that end by themselves."
    return (
        figures.bars(of_orders, folder.figure("orders"), caption, x_label="share"),
        figures.bars(of_questions, folder.figure("questions"), shown, x_label="share"),
    )


def _stages(config: Config, found: list[Small]) -> Table:
    fields = ("continues", "responds", "right", "begins", "chance")
    rows: list[tuple[Cell, ...]] = []
    for name in (BASE, *TUNINGS):
        rows.append((NAMES[name], *(float(np.mean([getattr(of.marked[name], field).mean() for of in found])) for field in fields)))
    columns = ("small model", "goes on", "responds and ends", "rightly", "begins rightly", "chance of the right response and its end")
    stated = np.mean([of.stated.mean() for of in found])
    note = (
        "Likeliest replies; the chance is exact, the product of the chances of each token. Before tuning the network completes "
        f"{stated:.3f} of the same facts rightly when put as statements; what it lacks it learns in tuning. Tuning without loss on "
        "the end may begin with the right response, and does not stop there."
    )
    return Table(f"Replies to {config.judged} held-out orders, means over seeds.", columns, tuple(rows), note, main=True)


def _checked(config: Config) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in TUNINGS:
        made = train.examples(config, name, config.seeds[0])
        said = instruction.findings(made.tokens, made.weight, end=orders.END)
        rows.append((NAMES[name], "; ".join(said) or "nothing"))
    note = "It reads weights, not meaning: responses of other orders are no mistake that it could see."
    return Table("What preferences.instruction.findings says of the sets.", ("set", "found"), tuple(rows), note)


def _orders(config: Config, found: list[Small]) -> Table:
    verbs, pairs = train.held_out(config)
    first = found[0].marked
    asked = [orders.text(row) for row in orders.orders(verbs, pairs)[: len(first[BASE].shown)]]
    shown = zip(asked, *(first[name].shown for name in (BASE, *TUNINGS)), strict=True)
    note = f"↵ is a line's end, ∎ the end of a text. Replies are cut at {findings.LONGEST} tokens."
    return Table("Replies to the first orders, first seed.", ("order", *NAMES.values()), tuple(shown), note)


def _questions(config: Config, large: dict[str, Marks]) -> Table:
    frames = (PLAIN, FRAME, TEMPLATE)
    rows = zip(findings.asked(config), *(large[frame].texts for frame in frames), strict=True)
    cut = [(question, *(text.strip()[:120] or "∎" for text in texts)) for (question, _), *texts in rows]
    note = "∎ is a reply that ends before its first word."
    return Table("SmolLM2's replies to the first questions, cut at 120 characters.", ("question", *frames), tuple(cut[:SHOWN]), note)
