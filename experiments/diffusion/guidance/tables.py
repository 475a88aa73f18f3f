"""The tables of the guidance experiment: every measure at every scale, trends, dropouts and cures."""

from collections.abc import Iterable, Mapping

from experiments.diffusion.guidance import cures
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.guidance.cures import Comparisons, RuleComparison, Sweep
from experiments.diffusion.guidance.measures import MEASURES, NAMES
from experiments.diffusion.guidance.sets import DrawnSets
from experiments.reporting.results import Cell, Table

_COLUMNS = tuple(NAMES[name] for name in MEASURES)


def tables(config: Config, drawn: DrawnSets, judged: Comparisons) -> tuple[Table, ...]:
    """Every number that the experiment found."""
    strong, moderate = f"w = {config.strong:g}", f"w = {config.moderate:g}"
    return (
        _trends(judged),
        _compared("The essay's scale: plain guidance at " + strong + " less that at w = 1", "data", judged.essay, less=True),
        _compared(f"Digits: each cure at the adherence of plain guidance at {moderate}", "rule", judged.equal, reached=True),
        _compared("The same, less plain guidance at " + moderate, "rule", judged.equal, less=True),
        _compared(
            f"Digits: each cure at {strong} (CFG++ at its largest scale), less plain guidance there", "rule", judged.strong, less=True
        ),
        *(_sweeps(config, f"{subject}: plain guidance, mean over the seeds", [("", plain)]) for subject, plain in drawn.plain.items()),
        _sweeps(config, "digits: share of labels dropped in training, one seed each", [(f"{s:g}", of) for s, of in drawn.dropouts.items()]),
        _sweeps(config, "digits: cures, mean over the seeds", [(name, cure) for name, cure in drawn.cures.items()]),
        _sweeps(
            config,
            "Networks that ignore their label",
            [*((f"{subject}, label withheld", deaf) for subject, deaf in drawn.deaf.items()), ("digits, shuffled labels", drawn.shuffled)],
        ),
    )


def _trends(judged: Comparisons) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (subject, measure), trend in judged.trends.items():
        each = ", ".join(f"{rho:.2f}" for rho in trend.each)
        rows.append((subject, NAMES[measure], trend.rho, each, trend.p, judged.corrected[subject, measure]))
    for subject, trend in judged.ignoring.items():
        rows.append(
            (f"{subject}, label withheld", NAMES["adherence"], trend.rho, ", ".join(f"{rho:.2f}" for rho in trend.each), trend.p, None)
        )
    columns = ("data", "measure", "Spearman's rho with w", "of each seed", "p, one-sided", "p after Holm")
    return Table("Trends with the guidance scale; adherence as far as it is claimed", columns, tuple(rows))


def _compared(title: str, first: str, compared: Mapping[str, RuleComparison], *, less: bool = False, reached: bool = False) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, of in compared.items():
        numbers = of.less if less else of.at
        rows.append((name, of.scale, *(numbers[measure] for measure in MEASURES), *((of.reached,) if reached else ())))
    return Table(title, (first, "scale", *_COLUMNS, *(("reached",) if reached else ())), tuple(rows))


def _sweeps(config: Config, title: str, sweeps: Iterable[tuple[str, Sweep]]) -> Table:
    """Intervals of a bootstrap over seeds, where there are several, and rows."""
    rows: list[tuple[Cell, ...]] = []
    for name, sweep in sweeps:
        for scale in sweep.scales:
            one = sweep.of([scale])
            at = cures.at_equal_adherence(one, one, resamples=min(config.resamples, 300)).at
            rows.append((name, scale, *(at[measure] for measure in MEASURES)))
    named = any(row[0] for row in rows)
    return Table(title, (("of",) if named else ()) + ("w", *_COLUMNS), tuple(row if named else row[1:] for row in rows))
