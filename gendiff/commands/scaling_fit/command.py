"""The command `scaling-fit`: anybody's sweep, as a CSV, becomes scaling laws with intervals, plots and a file of
figures.
"""

from pathlib import Path

from gendiff.commands.scaling_fit import csv_points, fit_options, loss_plots, three_fits
from gendiff.commands.scaling_fit.csv_points import Read
from gendiff.commands.scaling_fit.fit_options import JSON, FitOptions
from gendiff.commands.scaling_fit.three_fits import Fits, Found
from gendiff.core.errors import ConfigError, DataError
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.runs.reporting import json_files, report
from gendiff.runs.reporting.results import Figure
from gendiff.scaling.laws import Chinchilla, Frontier

NAMED = 6
"""Lines of a finding that are named."""


def call(options: FitOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options out of range, DataError for a table that cannot be read or fitted."""
    out = fit_options.check(options)
    read = csv_points.read(options.data)
    if options.drop_largest >= len(read.points):
        raise ConfigError(f"--drop-largest {options.drop_largest} leaves none of {len(read.points)} trainings")
    top = float(read.points.flops.max())
    budgets = options.flops or (10 * top, 100 * top)
    with progress.phase("fit"):
        try:
            fitted = three_fits.fit_all(
                read.points,
                budgets,
                dropped=options.drop_largest,
                resamples=options.resamples,
                seed=options.seed,
                note=progress.line,
            )
        except DataError as error:
            raise DataError(f"{options.data}: {error}") from error
    content = _content(options, read, budgets, fitted)
    out.mkdir(parents=True, exist_ok=True)
    json_files.write(out / JSON, content)
    plots = _plots(read, fitted, out)
    _print(content, plots, out)


def _content(options: FitOptions, read: Read, budgets: tuple[float, ...], fitted: Found) -> Fits:
    points = read.points
    return Fits(
        data=options.data,
        columns=read.columns,
        points=len(points),
        parameters=three_fits.reach(points.parameters),
        tokens=three_fits.reach(points.tokens),
        flops=three_fits.reach(points.flops),
        losses=three_fits.reach(points.loss),
        dropped=options.drop_largest,
        resamples=options.resamples,
        seed=options.seed,
        budgets=budgets,
        fits=fitted.fits,
        findings=three_fits.doubts(fitted, points, options.drop_largest, read.lines),
    )


def _plots(read: Read, fitted: Found, out: Path) -> list[Figure]:
    plots = []
    if fitted.isoflop is not None:
        caption = "Losses of the table, the parabola of each budget, and its minimum."
        plots.append(loss_plots.isoflop(read.points, fitted.isoflop, out / "isoflop.png", caption))
    if fitted.parametric is not None:
        law = fitted.parametric.law
        laws: dict[str, Chinchilla | Frontier] = {"best sizes": law}
        if fitted.isoflop is not None:
            laws = {"approach 3": law, "approach 2": fitted.isoflop}
        caption = "Loss as approach 3 predicts it, the trainings of the table, and the best sizes."
        plots.append(loss_plots.surface(law, out / "surface.png", caption, optima=laws, points=read.points))
    return plots


def _print(content: Fits, plots: list[Figure], out: Path) -> None:
    names = ", ".join(f"{kind} from {column!r}" for kind, column in content.columns.items())
    print(f"{content.points} trainings ({names})")
    for doubt in content.findings:
        print(f"finding: {doubt.says}{_places(doubt.lines)}")
    for table in three_fits.tables(content):
        print("\n" + "\n".join(report.table_lines(table)))
    print(f"\nfits: {out / JSON}" + "".join(f"\nplot: {out / figure.file}" for figure in plots), flush=True)


def _places(lines: tuple[int, ...]) -> str:
    """The first lines of a finding; nothing where it is of the whole table."""
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return f" (line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:NAMED]))}{more})" if lines else ""
