"""How the certify experiment judges: every stated order and exact case, both findings, and the controls that must fail."""

import functools
import math
from collections.abc import Callable

from experiments.diffusion.certify import figures, findings, tables
from experiments.diffusion.certify.config import Config
from experiments.diffusion.certify.findings import FORMULAS, Errors
from experiments.diffusion.certify.measure import Measured, chosen, measure
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.results import Table
from experiments.reporting.verdicts import Claim, Number
from gendiff.diffusion.certify import Curve, Method
from gendiff.diffusion.certify.certificate import WIDEST

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
        return Outcome(tuple(judged), figures.all_of(folder, first), tuple(shown))


def claims(config: Config, measured: Measured) -> list[Claim]:
    """Of one seed. Weak errors have no seed, so their claims stand in whichever `measured` holds them."""
    claim = functools.partial(verdicts.against, config.thresholds, measured.seed)
    certificates = measured.certificates
    judged = [
        _order(config, kept.method, curve, measured.seed) for kept in certificates for curve in kept.curves if curve.stated is not None
    ]
    stated = [case.error for kept in certificates for case in kept.cases if case.stated]
    if stated:
        worst = max(math.inf if math.isnan(error) else error for error in stated)
        judged.append(claim("exact-cases", "every case that theory says is exact: the largest error", worst, "<=", "exact", n=len(stated)))
    shortfalls = [kept.shortfall for kept in certificates if kept.shortfall is not None]
    if shortfalls:
        worst = max(math.inf if math.isnan(shortfall) else max(shortfall, 0.0) for shortfall in shortfalls)
        text = f"orders from sigma/alpha {WIDEST:g} to {config.sigma_max:g}: how far any stays below the stated one"
        judged.append(claim("wide-orders", text, worst, "<=", "order", n=len(shortfalls)))
    for between, curves in measured.third_order.items():
        for formula in FORMULAS:
            text = f"third-order multistep, {formula}, {between}: distance of its order from {curves[formula].stated}"
            id = f"third-order-{formula}-{between.name}"
            judged.append(claim(id, text, distance(curves[formula]), "<=", "order", n=config.starts))
    wrong = "Heun with the weights 0.4 and 0.6: distance of its order from 2"
    judged += _timesteps(config, measured.timesteps["linspace"], functools.partial(claim, n=config.starts))
    return [*judged, claim("wrong-heun", wrong, distance(measured.wrong_heun), ">=", "order", n=config.starts, kind="control")]


def distance(curve: Curve) -> Number:
    """|fitted order - stated order| with the interval of the fit mapped likewise; NaN where nothing was fitted."""
    fit = curve.fit
    if curve.stated is None or fit.order is None or fit.low is None or fit.high is None:
        return math.nan, math.nan, math.nan
    return verdicts.away((fit.order, fit.low, fit.high), curve.stated)


def _order(config: Config, method: Method, curve: Curve, seed: int) -> Claim:
    weak, starts = curve.kind == "weak", config.path_starts if method.along_path else config.starts
    kind = "order" if curve.kind == "flow" else f"{curve.kind} order"
    text = f"{method.call}: distance of its {kind} from {curve.stated:g}"
    n = GAUSSIANS if weak else starts
    return verdicts.against(config.thresholds, None if weak else seed, f"order-{method.id}", text, distance(curve), "<=", "order", n=n)


def _timesteps(config: Config, errors: Errors, claim: Callable[..., Claim]) -> list[Claim]:
    most = max(config.control_counts)
    grid, formula = (verdicts.away(errors.order(way, config.control_counts), 1) for way in ("grid", "formula"))
    by = "linspace spacing on a table: distance of its order from 1"
    worse = f"DDIM by t − T//n, linspace spacing, {most} steps: error in multiples of the grid's"
    return [
        claim("grid-order", f"DDIM by the grid's levels, {by}", grid, "<=", "order"),
        claim("previous-timestep-error", worse, errors.ratio(most), ">=", "previous_ratio"),
        claim("previous-timestep", f"DDIM by t − T//n, {by}", formula, ">=", "order", kind="control"),
    ]


def _tables(config: Config, first: Measured) -> list[Table]:
    wrong = {name: findings.wrong_counts(name, config.checked) for name in first.timesteps}
    return [
        tables.readme(first.certificates),
        tables.samplers(first.certificates, config.evaluations, first.seed),
        *tables.unfitted(first.certificates),
        *tables.third_order(first.third_order),
        tables.wrong_counts(wrong, config.checked),
        *tables.previous_timestep(first.timesteps),
    ]
