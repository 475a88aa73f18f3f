"""Drawings, captions and answers against their thresholds, and both losses against those of the twins, as claims."""

import functools
from collections.abc import Iterator
from typing import Any

from experiments.multimodal import figures, findings
from experiments.multimodal.config import BOTH, CAPTIONS, PICTURES, Config
from experiments.multimodal.findings import Found
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim from the checkpoints."""
    found = findings.of_all(config, folder, progress)
    with progress.phase("figures"):
        shown = figures.every(config, folder, found)
    made = [claim for seed, of in zip(config.seeds, found, strict=True) for claim in of_seed(config, seed, of)]
    return Outcome(tuple(made), shown, figures.tables(config, found))


def of_seed(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    """The claims of one seed."""
    claim: Any = functools.partial(verdicts.against, config.thresholds, seed)
    drawn: Any = functools.partial(claim, n=len(found.drawn), figure="drawn.png")
    yield drawn("drawn", "pictures in which the classifier sees the digit of their caption", intervals.share(found.drawn), ">=")
    captioned, answered = intervals.share(found.captioned), intervals.share(found.answered)
    yield claim("captioned", "held-out digits whose caption is written right", captioned, ">=", n=len(found.captioned))
    statement = "questions about held-out pairs of colour and shape whose right answer is the likeliest one"
    asked: Any = functools.partial(claim, n=len(found.answered), figure="scenes.png")
    yield asked("answered", statement, answered, ">=")
    for name, losses, twin, what in (
        ("text-loss", found.text_loss, CAPTIONS, "captions of held-out digits over that of the twin that only captions"),
        ("picture-loss", found.picture_loss, PICTURES, "held-out pictures with their captions over that of the twin that only draws"),
    ):
        rows = losses[BOTH], losses[twin]
        ratio = intervals.interval(intervals.ratio_of_means, *rows, paired=True, resamples=config.resamples)
        yield claim(name, f"loss of {what}", ratio, "<=", n=len(rows[0]))
    statement = "largest difference between logits of texts alone and those of a language model with the same parameters"
    yield claim("language", statement, found.language, "<=", n=config.together)
    statement = "pictures in which the classifier sees the digit of another caption"
    yield drawn("mismatched", statement, intervals.share(found.mismatched), "<=", kind="control")
    statement = "the same questions answered right about pictures of other scenes"
    yield asked("blind", statement, intervals.share(found.blind), "<=", kind="control")
