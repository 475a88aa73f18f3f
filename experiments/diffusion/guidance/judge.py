"""How the guidance experiment judges: trends with the scale, cures at equal adherence, and networks that ignore their label."""

import functools
from collections.abc import Mapping
from typing import Any

from experiments.diffusion.guidance import cures, sets
from experiments.diffusion.guidance import figures as guidance_figures
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.sweeps import Sweep
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import trends, verdicts
from gendiff.runs.run_folder import RunFolder

ESSAY: Mapping[str, tuple[int, str, str]] = {
    "adherence": (1, "faithful", "more faithful: samples that show the class asked for"),
    "recall": (-1, "less_diverse", "less diverse: held-out images that samples of their class reach"),
    "vendi": (-1, "less_diverse", "less diverse: Vendi score within class"),
    "clipped": (1, "oversaturated", "oversaturated: values beyond the data's range"),
    "contrast": (1, "oversaturated", "oversaturated: RMS contrast"),
}
"""Measure -> the direction in which the essay says that it goes, its threshold, and the essay in words."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures, explorers and tables, from the checkpoints of the folder."""
    drawn = sets.draw(config, folder, progress)
    with progress.phase("judge"):
        judged = judge(config, drawn)
    with progress.phase("figures"):
        figures = guidance_figures.figures(config, folder, drawn)
        explorers = guidance_figures.explorers(config, folder, drawn)
    return Outcome(tuple(claims(config, drawn, judged)), figures, guidance_figures.tables(config, drawn, judged), explorers)


def judge(config: Config, drawn: sets.DrawnSets) -> cures.Comparisons:
    """Every comparison that claims and tables are made of."""

    def trend(sweep: Sweep, measure: str) -> trends.Trend:
        options = {"sign": ESSAY[measure][0], "resamples": config.resamples, "permutations": config.permutations}
        return trends.measure(sweep.scales, sweep.tables[measure], **options)

    plain = drawn.plain.items()
    rising = {(subject, name): trend(sweep.of(scales_of(config, subject, name)), name) for name in ESSAY for subject, sweep in plain}
    compare = functools.partial(cures.at_equal_adherence, resamples=config.resamples)
    moderate, strong = drawn.short.of([config.moderate]), drawn.short.of([config.strong])
    hardest = {name: cure.of([cure.scales[-1] if name == "CFG++" else config.strong]) for name, cure in drawn.cures.items()}
    return cures.Comparisons(
        trends=rising,
        corrected=dict(zip(rising, map(float, trends.holm([each.p for each in rising.values()])), strict=True)),
        ignoring={subject: trend(deaf, "adherence") for subject, deaf in drawn.deaf.items()},
        equal={name: compare(cure, moderate) for name, cure in drawn.cures.items()},
        strong={name: compare(cure, strong) for name, cure in hardest.items()},
        essay={subject: compare(sweep.of([config.strong]), sweep.of([1.0])) for subject, sweep in plain},
    )


def scales_of(config: Config, subject: str, measure: str) -> list[float]:
    """Where a trend is claimed: everywhere, but that of adherence only as far as it can still grow."""
    return config.faithful_scales(subject) if measure == "adherence" else list(config.scales)


def claims(config: Config, drawn: sets.DrawnSets, judged: cures.Comparisons) -> list[verdicts.Claim]:
    """The essay's sentence as trends, two claims of cures, and the controls."""
    claim = functools.partial(verdicts.against, config.thresholds, None)
    every = []
    for (subject, measure), trend in judged.trends.items():
        scales, (sign, limit, words) = scales_of(config, subject, measure), ESSAY[measure]
        about = f"{subject}, w = {scales[0]:g} … {scales[-1]:g}, {words}; Spearman's rho with w"
        shown: dict[str, Any] = {"n": _count(drawn.plain[subject]), "figure": f"curves_{subject}.png"}
        every.append(claim(f"{subject}-{measure}", about, trend.rho, ">=" if sign > 0 else "<=", limit, **shown))
    about = f"the largest of the {len(judged.corrected)} p-values of these trends, after Holm's correction"
    every.append(claim("trends-significant", about, max(judged.corrected.values()), "<=", "significance", n=len(judged.corrected)))

    of_cure = functools.partial(claim, n=_count(drawn.short), figure="cures.png")
    less, more = judged.equal["interval"].less["recall"], judged.strong["rescale"].less["clipped"]
    beside = f"less that of plain guidance, at the adherence of plain guidance at w = {config.moderate:g}"
    every.append(of_cure("interval-recall", f"digits: recall of interval guidance {beside}", less, ">="))
    beside = f"less that of plain guidance, both at w = {config.strong:g}"
    every.append(of_cure("rescale-clipped", f"digits: clipped fraction of rescaled guidance {beside}", more, "<="))

    def chance(id: str, words: str, sweep: Sweep, scale: float) -> verdicts.Claim:
        one = sweep.of([scale])
        seen = cures.at_equal_adherence(one, one, resamples=config.resamples).at["adherence"]
        return claim(id, f"{words}: adherence at w = {scale:g}", seen, "<=", "chance", n=_count(sweep), kind="control")

    for subject, trend in judged.ignoring.items():
        deaf, about = drawn.deaf[subject], f"{subject}, label withheld"
        rho = f"{about}: Spearman's rho of adherence with w"
        every.append(claim(f"{subject}-deaf-trend", rho, trend.rho, "<=", "faithful", n=_count(deaf), kind="control"))
        every.append(chance(f"{subject}-deaf-chance", about, deaf, deaf.scales[-1]))
    return [*every, chance("digits-shuffled-chance", "digits, trained on shuffled labels", drawn.shuffled, config.strong)]


def _count(sweep: Sweep) -> int:
    """Samples at each scale, of all seeds."""
    return sum(table.shape[1] for table in sweep.tables["adherence"])
