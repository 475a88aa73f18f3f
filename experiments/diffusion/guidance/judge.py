"""How the guidance experiment judges: trends with the scale, cures at equal adherence, and networks that ignore their label."""

import functools
from collections.abc import Mapping

from experiments.diffusion import trends
from experiments.diffusion.guidance import cures, sets, tables
from experiments.diffusion.guidance import figures as guidance_figures
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.guidance.cures import Comparisons, Sweep
from experiments.diffusion.guidance.sets import DrawnSets
from experiments.diffusion.trends import Trend
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.verdicts import Claim

SIGNS: Mapping[str, int] = {"adherence": 1, "recall": -1, "vendi": -1, "clipped": 1, "contrast": 1}
"""The direction in which the essay says that each measure goes."""
LIMITS: Mapping[str, str] = {
    "adherence": "faithful",
    "recall": "less_diverse",
    "vendi": "less_diverse",
    "clipped": "oversaturated",
    "contrast": "oversaturated",
}
"""The threshold of each."""
WORDS: Mapping[str, str] = {
    "adherence": "more faithful: samples that show the class asked for",
    "recall": "less diverse: held-out images that samples of their class reach",
    "vendi": "less diverse: Vendi score within class",
    "clipped": "oversaturated: values beyond the data's range",
    "contrast": "oversaturated: RMS contrast",
}


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures, explorers and tables, from the checkpoints of the folder."""
    drawn = sets.draw(config, folder, progress)
    with progress.phase("judge"):
        judged = judge(config, drawn)
    with progress.phase("figures"):
        figures = guidance_figures.figures(config, folder, drawn)
        explorers = guidance_figures.explorers(config, folder, drawn)
    return Outcome(tuple(claims(config, drawn, judged)), figures, tables.tables(config, drawn, judged), explorers)


def judge(config: Config, drawn: DrawnSets) -> Comparisons:
    """Every comparison that claims and tables are made of."""
    trend = functools.partial(_trend, config)
    rising = {
        (subject, measure): trend(plain.of(scales_of(config, subject, measure)), measure)
        for measure in SIGNS
        for subject, plain in drawn.plain.items()
    }
    corrected = trends.holm([each.p for each in rising.values()])
    compare = functools.partial(cures.at_equal_adherence, resamples=config.resamples)
    moderate, strong = drawn.short.of([config.moderate]), drawn.short.of([config.strong])
    return Comparisons(
        rising,
        dict(zip(rising, map(float, corrected), strict=True)),
        {subject: trend(deaf, "adherence") for subject, deaf in drawn.deaf.items()},
        {name: compare(cure, moderate) for name, cure in drawn.cures.items()},
        {name: compare(cure.of([cure.scales[-1] if name == "CFG++" else config.strong]), strong) for name, cure in drawn.cures.items()},
        {subject: compare(plain.of([config.strong]), plain.of([1.0])) for subject, plain in drawn.plain.items()},
    )


def scales_of(config: Config, subject: str, measure: str) -> list[float]:
    """Where a trend is claimed: everywhere, but that of adherence only as far as it can still grow."""
    most = config.digits_faithful_to if subject == "digits" else config.shapes_faithful_to
    return [scale for scale in config.scales if measure != "adherence" or scale <= most]


def claims(config: Config, drawn: DrawnSets, judged: Comparisons) -> list[Claim]:
    """The essay's sentence as trends, two claims of cures, and the controls."""
    claim = functools.partial(verdicts.against, config.thresholds, None)
    control = functools.partial(claim, kind="control")
    every = []
    for (subject, measure), trend in judged.trends.items():
        scales = scales_of(config, subject, measure)
        about = f"{subject}, w = {scales[0]:g} … {scales[-1]:g}, {WORDS[measure]}; Spearman's rho with w"
        relation: verdicts.Relation = ">=" if SIGNS[measure] > 0 else "<="
        figure, count = f"curves_{subject}.png", _count(drawn.plain[subject])
        every.append(claim(f"{subject}-{measure}", about, trend.rho, relation, LIMITS[measure], n=count, figure=figure))
    about = f"the largest of the {len(judged.corrected)} p-values of these trends, after Holm's correction"
    every.append(claim("trends-significant", about, max(judged.corrected.values()), "<=", "significance", n=len(judged.corrected)))

    count, figure, strong, moderate = _count(drawn.short), "cures.png", f"{config.strong:g}", f"{config.moderate:g}"
    about = f"digits: recall of interval guidance less that of plain guidance, at the adherence of plain guidance at w = {moderate}"
    every.append(claim("interval-recall", about, judged.equal["interval"].less["recall"], ">=", "interval_recall", n=count, figure=figure))
    about = f"digits: clipped fraction of rescaled guidance less that of plain guidance, both at w = {strong}"
    every.append(claim("rescale-clipped", about, judged.strong["rescale"].less["clipped"], "<=", "rescale_clipped", n=count, figure=figure))

    for subject, trend in judged.ignoring.items():
        deaf, about = drawn.deaf[subject], f"{subject}, label withheld: "
        count = _count(deaf)
        every.append(control(f"{subject}-deaf-trend", f"{about}Spearman's rho of adherence with w", trend.rho, "<=", "faithful", n=count))
        seen = _adherence(config, deaf.of([deaf.scales[-1]]))
        every.append(control(f"{subject}-deaf-chance", f"{about}adherence at w = {deaf.scales[-1]:g}", seen, "<=", "chance", n=count))
    seen = _adherence(config, drawn.shuffled.of([config.strong]))
    about = f"digits, trained on shuffled labels: adherence at w = {strong}"
    every.append(control("digits-shuffled-chance", about, seen, "<=", "chance", n=_count(drawn.shuffled)))
    return every


def _trend(config: Config, sweep: Sweep, measure: str) -> Trend:
    return trends.measure(
        sweep.scales, sweep.tables[measure], sign=SIGNS[measure], resamples=config.resamples, permutations=config.permutations
    )


def _adherence(config: Config, sweep: Sweep) -> verdicts.Number:
    return cures.at_equal_adherence(sweep, sweep, resamples=config.resamples).at["adherence"]


def _count(sweep: Sweep) -> int:
    """Samples at each scale, of all seeds."""
    return sum(table.shape[1] for table in sweep.tables["adherence"])
