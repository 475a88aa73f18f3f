"""How the certify experiment judges: every stated order and exact case, both findings, and the controls that must fail."""

import functools
import math

from experiments.diffusion.certify import figures, findings, tables
from experiments.diffusion.certify.config import Config
from experiments.diffusion.certify.measure import Measured, chosen, measure
from gendiff.diffusion.certify import Curve
from gendiff.diffusion.certify.certificate import WIDEST
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import verdicts
from gendiff.runs.reporting.results import Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder

GAUSSIANS = 8
"""Over which `gendiff.diffusion.certify` takes a weak error."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Certificates of every sampler, both findings and both controls: one claim per seed; tables and figures of the first seed."""
    methods = chosen(config)
    first = measure(config, methods, config.seeds[0], findings.SPACINGS, progress)
    judged = claims(config, first)
    kept = zip(methods, first.certificates, strict=True)
    again = tuple(method for method, certificate in kept if not certificate.stochastic or method.along_path)
    for seed in config.seeds[1:]:  # where a seed changes nothing, one is enough
        judged += claims(config, measure(config, again, seed, ("linspace",), progress))
    with progress.phase("figures and tables"):
        shown = _tables(config, first)
        (folder.path / "samplers.md").write_text(tables.markdown(shown[0]), encoding="utf-8")
        return Outcome(tuple(judged), tuple(figures.all_of(folder, first)), tuple(shown))


def claims(config: Config, measured: Measured) -> list[Claim]:
    """Of one seed. Weak errors have no seed, so their claims stand in whichever `measured` holds them."""
    claim = functools.partial(verdicts.against, config.thresholds, measured.seed)
    of_starts = functools.partial(claim, n=config.starts)
    judged = []
    for each in measured.certificates:
        for curve in each.curves:
            if curve.stated is not None:
                seed, n = (None, GAUSSIANS) if curve.kind == "weak" else (measured.seed, config.starts_of(each.method))
                order = "order" if curve.kind == "flow" else f"{curve.kind} order"
                text = f"{each.method.call}: distance of its {order} from {curve.stated:g}"
                id = f"order-{each.method.id}"
                judged.append(verdicts.against(config.thresholds, seed, id, text, distance(curve), "<=", "order", n=n))
    stated = [case.error for each in measured.certificates for case in each.cases if case.stated]
    if stated:
        text = "every case that theory says is exact: the largest error"
        judged.append(claim("exact-cases", text, _worst(stated), "<=", "exact", n=len(stated)))
    shortfalls = [each.shortfall for each in measured.certificates if each.shortfall is not None]
    if shortfalls:
        text = f"orders from sigma/alpha {WIDEST:g} to {config.sigma_max:g}: how far any stays below the stated one"
        judged.append(claim("wide-orders", text, max(_worst(shortfalls), 0.0), "<=", "order", n=len(shortfalls)))
    for between, curves in measured.third_order.items():
        for name, curve in curves.items():
            text = f"third-order multistep, {name}, {between}: distance of its order from {curve.stated}"
            judged.append(of_starts(f"third-order-{name}-{between.name}", text, distance(curve), "<=", "order"))
    errors, most = measured.timesteps["linspace"], max(config.control_counts)
    grid, formula = (verdicts.away(errors.order(way, config.control_counts), 1) for way in ("grid", "formula"))
    by = "linspace spacing on a table: distance of its order from 1"
    worse = f"DDIM by t − T//n, linspace spacing, {most} steps: error in multiples of the grid's"
    wrong = "Heun with the weights 0.4 and 0.6: distance of its order from 2"
    return [
        *judged,
        of_starts("grid-order", f"DDIM by the grid's levels, {by}", grid, "<=", "order"),
        of_starts("previous-timestep-error", worse, errors.ratio(most), ">=", "previous_ratio"),
        of_starts("previous-timestep", f"DDIM by t − T//n, {by}", formula, ">=", "order", kind="control"),
        of_starts("wrong-heun", wrong, distance(measured.wrong_heun), ">=", "order", kind="control"),
    ]


def distance(curve: Curve) -> Number:
    """|fitted order - stated order| with the interval of the fit mapped likewise; NaN where nothing was fitted."""
    order = tables.fitted(curve)
    return (math.nan, math.nan, math.nan) if order is None or curve.stated is None else verdicts.away(order, curve.stated)


def _worst(errors: list[float]) -> float:
    return max(math.inf if math.isnan(error) else error for error in errors)


def _tables(config: Config, first: Measured) -> list[Table]:
    return [
        *tables.samplers(first.certificates, config.evaluations, first.seed),
        *tables.unfitted(first.certificates),
        *(tables.third_order(between, **curves) for between, curves in first.third_order.items()),
        tables.wrong_counts(first.timesteps, config.checked),
        *(table for spacing, errors in first.timesteps.items() for table in tables.previous_timestep(spacing, errors)),
    ]
