"""How the text-to-image experiment judges: exact attributes by guidance scale, what stronger guidance costs, and controls."""

import functools
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.sweeps import Sweep
from experiments.diffusion.text_to_image import figures as text_figures
from experiments.diffusion.text_to_image import publishing, sets
from experiments.diffusion.text_to_image.drawings import answers as drawing_answers
from experiments.diffusion.text_to_image.drawings import claims as drawing_claims
from experiments.diffusion.text_to_image.drawings import shown as drawings_shown
from experiments.diffusion.text_to_image.sets import DrawnSets
from gendiff.commands.text_to_image.config import Config
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, trends, verdicts
from gendiff.runs.reporting.trends import Trend
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder

_CURVES = "curves.png"


@dataclass(frozen=True)
class Judged:
    """best: the place of the scale that is judged, the most accurate on seen prompts, so that held-out ones do not choose it.

    rising: of accuracy on held-out prompts up to there. costs: of the other measures, over all scales. frozen_less_scratch: each at the
    scale that its own seen prompts choose, with the first seed.
    """

    best: int
    rising: Trend
    costs: dict[str, Trend]
    frozen_less_scratch: Number


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures, the gallery and tables, from the checkpoints of the folder."""
    drawn, answered = sets.draw(config, folder, progress), drawing_answers.draw(config, folder, progress)
    with progress.phase("judge"):
        judged = judge(config, drawn)
        every = (*claims(config, drawn, judged), *drawing_claims.claims(config, answered))
        tables = (*text_figures.tables(config, drawn, judged.best), *drawings_shown.tables(config, answered))
    with progress.phase("publish"):
        publishing.shapes(config, folder, config.scales[judged.best], progress)
        publishing.drawings(config, folder, config.drawings.scales[answered.best], progress)
    with progress.phase("figures"):
        figures = (*text_figures.figures(config, folder, drawn), *drawings_shown.figures(config, folder, answered))
        explorers = (*text_figures.explorers(config, folder, drawn, judged.best), *drawings_shown.explorers(config, folder, answered))
    return Outcome(every, figures, tables, explorers)


def judge(config: Config, drawn: DrawnSets) -> Judged:
    """Every comparison that claims are made of."""

    def trend(sweep: Sweep, measure: str, sign: int) -> Trend:
        return trends.measure(sweep.scales, sweep.tables[measure], sign=sign, resamples=config.resamples, permutations=config.permutations)

    best, held_out = drawn.seen.best, drawn.held_out.sweep
    frozen, scratch = (
        answers.sweep.tables["accuracy"][0][place]
        for answers, place in (
            (drawn.held_out, int(np.argmax(drawn.seen.sweep.seed(0).means()["accuracy"]))),
            (drawn.scratch_held_out, drawn.scratch_seen.best),
        )
    )
    return Judged(
        best=best,
        rising=trend(held_out.of(held_out.scales[: max(best, 1) + 1]), "accuracy", 1),
        costs={"vendi": trend(drawn.diversity, "vendi", -1)} | {name: trend(held_out, name, 1) for name in ("clipped", "contrast")},
        frozen_less_scratch=intervals.interval(intervals.difference_of_means, frozen, scratch, paired=True),
    )


def claims(config: Config, drawn: DrawnSets, judged: Judged) -> list[Claim]:
    """Accuracy per seed, trends over all seeds, and the controls."""
    scales, count = config.scales, len(drawn.held_out.prompts)
    claim = functools.partial(verdicts.against, config.thresholds)
    every = []
    for seed, table in zip(config.seeds, drawn.held_out.sweep.tables["accuracy"], strict=True):
        about = "held-out prompts whose picture shows exactly what was asked for, at the scale that seen prompts choose"
        every.append(claim(seed, "held-out", about, intervals.share(table[judged.best] > 0), ">=", "accurate", n=count, figure=_CURVES))
    of_all = functools.partial(claim, None, figure=_CURVES, n=count * len(config.seeds))
    about = "held-out prompts: Spearman's rho of this share with the scale, up to the best scale"
    every.append(of_all("held-out-rising", about, judged.rising.rho, ">=", "rising"))
    words = f"Spearman's rho with w = {scales[0]:g} … {scales[-1]:g}"
    about = f"pictures of one prompt, less diverse: Vendi score; {words}"
    shown = {"figure": _CURVES, "n": config.repeated * config.repeats * len(config.seeds)}
    every.append(claim(None, "less-diverse", about, judged.costs["vendi"].rho, "<=", "less_diverse", **shown))
    for name, what in (("clipped", "values beyond ±1"), ("contrast", "RMS contrast")):
        every.append(of_all(f"oversaturated-{name}", f"oversaturated: {what}; {words}", judged.costs[name].rho, ">=", "oversaturated"))
    about = "accuracy on held-out prompts with frozen MiniLM less that with an encoder trained from scratch"
    every.append(claim(None, "frozen-less-scratch", about, judged.frozen_less_scratch, ">=", n=count))
    for id, answers, words in (("shuffled", drawn.shuffled, "trained on shuffled captions"), ("untrained", drawn.untrained, "not trained")):
        about = f"network {words}: held-out prompts shown exactly, at its best scale"
        hits = answers.sweep.tables["accuracy"][0][answers.best] > 0
        every.append(claim(None, f"{id}-chance", about, intervals.share(hits), "<=", "chance", n=count, kind="control"))
    return every
