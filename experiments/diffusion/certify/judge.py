"""How the certify experiment judges: every stated order and exact case, both findings, and the controls that must fail."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.diffusion.certify.findings import FORMULAS, Errors, Range
from experiments.diffusion.certify.samplers import Entry
from experiments.reporting import verdicts
from experiments.reporting.verdicts import Claim, Number
from gendiff.diffusion.certify import Certificate, Curve

GAUSSIANS = 8
"""Over which `gendiff.diffusion.certify` takes a weak error."""


@dataclass(frozen=True)
class Measured:
    """Everything of one seed. third_order: curves by formula. timesteps: errors by spacing."""

    seed: int
    certificates: Mapping[Entry, Certificate]
    third_order: Mapping[Range, Mapping[str, Curve]]
    timesteps: Mapping[str, Errors]
    wrong_heun: Curve


def claims(config: Any, measured: Measured) -> list[Claim]:
    """Of one seed. Weak errors have no seed, so their claims stand in whichever `measured` holds them."""
    seed, starts = measured.seed, config.starts
    claim = functools.partial(verdicts.against, config.thresholds, seed)
    found = [_order(config, entry, curve, seed) for entry, kept in measured.certificates.items() for curve in kept.curves if _stated(curve)]
    stated = [case.error for kept in measured.certificates.values() for case in kept.cases if case.stated]
    if stated:
        worst = max(math.inf if math.isnan(error) else error for error in stated)
        said = "every case that theory says is exact: the largest error"
        found.append(claim("exact-cases", said, worst, "<=", "exact", n=len(stated)))
    for between, curves in measured.third_order.items():
        for formula in FORMULAS:
            said = f"third-order multistep, {formula}, {between}: distance of its order from {curves[formula].stated}"
            name = f"third-order-{formula}-{between.name}"
            found.append(claim(name, said, distance(curves[formula]), "<=", "order", n=starts))
    return [*found, *_timesteps(config, measured.timesteps["linspace"], claim), *_controls(config, measured, claim)]


def distance(curve: Curve) -> Number:
    """|fitted order - stated order| with the interval of the fit mapped likewise; NaN where nothing was fitted."""
    fit = curve.fit
    if curve.stated is None or fit.order is None or fit.low is None or fit.high is None:
        return math.nan, math.nan, math.nan
    return verdicts.away((fit.order, fit.low, fit.high), curve.stated)


def _stated(curve: Curve) -> bool:
    return curve.stated is not None


def _order(config: Any, entry: Entry, curve: Curve, seed: int) -> Claim:
    weak, starts = curve.kind == "weak", config.path_starts if entry.along_path else config.starts
    kind = "order" if curve.kind == "flow" else f"{curve.kind} order"
    said = f"{entry.call}: distance of its {kind} from {curve.stated:g}"
    n = GAUSSIANS if weak else starts
    return verdicts.against(config.thresholds, None if weak else seed, f"order-{entry.id}", said, distance(curve), "<=", "order", n=n)


def _timesteps(config: Any, errors: Errors, claim: Any) -> list[Claim]:
    most = max(config.control_counts)
    order = verdicts.away(errors.order("grid", config.control_counts), 1)
    said = "DDIM by the grid's levels, linspace spacing on a table: distance of its order from 1"
    worse = f"DDIM by t − T//n, linspace spacing, {most} steps: error in multiples of the grid's"
    return [
        claim("grid-order", said, order, "<=", "order", n=config.starts),
        claim("previous-timestep-error", worse, errors.ratio(most), ">=", "previous_ratio", n=config.starts),
    ]


def _controls(config: Any, measured: Measured, claim: Any) -> list[Claim]:
    control = functools.partial(claim, kind="control", n=config.starts)
    order = verdicts.away(measured.timesteps["linspace"].order("formula", config.control_counts), 1)
    said = "DDIM by t − T//n, linspace spacing on a table: distance of its order from 1"
    wrong = "Heun with the weights 0.4 and 0.6: distance of its order from 2"
    return [
        control("previous-timestep", said, order, ">=", "order"),
        control("wrong-heun", wrong, distance(measured.wrong_heun), ">=", "order"),
    ]
