"""Earlier names and calls, which go on for one version with a warning."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

from gendiff.core.renamed import renamed, warn
from gendiff.core.types import Jitted
from gendiff.training import fit as fitting
from gendiff.training import sharding
from gendiff.training.compile_step import CompiledStep, TrainingState, compile_loss, compile_step

Fit = TypeVar("Fit", bound=Callable[..., fitting.FitResult])
_LOSS = ("loss", "optimizer", "init")
_OF_LOSS = (*_LOSS, "mesh", "rules", "ema", "ema_warm_up", "accumulate", "clip")


def _accepting_loss(fit: Fit) -> Fit:
    @functools.wraps(fit)
    def either(*args: object, **options: Any) -> fitting.FitResult:  # of either form
        if "loss" not in options and (not args or isinstance(args[0], CompiledStep)):
            return fit(*args, **options)
        new = "fit(compile_loss(loss, optimizer, init, …), batches, …)"
        warn("fit(loss, optimizer, init, batches, …)", new, "form")
        options |= dict(zip((*_LOSS, "batches"), args, strict=False))
        program = compile_loss(**{name: options.pop(name) for name in _OF_LOSS if name in options})
        return fit(program, options.pop("batches"), store=options.pop("folder", None), **options)

    return cast(Fit, either)


def _loop(
    step: Jitted,
    fresh: Callable[[jax.Array], TrainingState],
    batches: fitting.Batches,
    *,
    mesh: jax.sharding.Mesh | None = None,
    shardings: TrainingState | None = None,
    **options: Any,  # of `fit`
) -> fitting.FitResult:
    if options.get("snapshots") is not None:
        options.setdefault("snapshot_every", 1000)
    else:
        options.pop("snapshot_every", None)
    return fitting.fit(
        CompiledStep(step, fresh, shardings, sharding.mesh() if mesh is None else mesh), batches, **options
    )


fit = _accepting_loss(fitting.fit)
_RENAMED = {
    "Fitted": ("training.FitResult", fitting.FitResult),
    "Programs": ("training.CompiledStep", CompiledStep),
    "loop": ("training.fit(training.compile_step(step, fresh, …), batches, …)", _loop),
    "own_programs": ("training.compile_step", compile_step),
    "programs": ("training.compile_loss", compile_loss),
}
__getattr__ = renamed("training", _RENAMED)
