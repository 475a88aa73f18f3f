"""A look at the samples of a GAN every so many steps of its training: modes, distances, and whether it has
collapsed.
"""

from collections.abc import Callable
from typing import Any

from gendiff.adversarial import watch
from gendiff.adversarial.watch import CollapseReport
from gendiff.core import checks
from gendiff.core.types import ArrayLike, Params
from gendiff.training.fit import OnState


def looking(
    draw: Callable[[Params], ArrayLike], interval: int, tell: Callable[[int, CollapseReport], object], **known: Any
) -> OnState:
    """An `on_state` of `training.fit` or of `training_loop.train`. It changes no step.

    draw: from the generator's average to samples (n, …), best jitted. interval: in steps. tell: is called with the step
    and the report, such as `lambda step, report: progress.line(described(step, report))`. known: real data or modes, as
    `adversarial.watch.report` takes them.
    """
    checks.integer("interval", interval, 1)

    def look(step: int, state: Any) -> None:
        if step % interval == 0:
            tell(step, watch.report(draw(state.ema), **known))

    return look


def described(step: int, report: CollapseReport) -> str:
    """The report in one line."""
    parts = [f"step {step}: {report.verdict}"]
    if report.modes is not None:
        parts.append(f"{report.modes.modes} of {report.modes.known} modes, {report.modes.good:.0%} good")
    if report.pairwise_distance is not None:
        real = "" if report.ratio is None else f", {report.ratio:.2f} times that of real data"
        parts.append(f"mean distance {report.pairwise_distance:.3g}{real}")
    return "; ".join([*parts, *report.reasons])
