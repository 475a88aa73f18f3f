"""`run --profile START:COUNT`: what the devices and the host do in some steps of a training, as a trace that xprof and
Perfetto open.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import jax

from gendiff.core.errors import ConfigError
from gendiff.core.types import Metrics, PyTree
from gendiff.runs.run_folder import Span
from gendiff.training.compile_step import Step, TrainingState

Traced: TypeAlias = Callable[[Step, int], Step]


def check(span: Span | None, steps: int) -> None:
    """Raises ConfigError where a training of so many steps does not have them all."""
    if span is not None and span.last > steps:
        raise ConfigError(
            f"--profile {span.start}:{span.count} ends at step {span.last}, and the training has {steps} steps"
        )


@contextlib.contextmanager
def traced(span: Span | None, folder: Path) -> Iterator[Traced]:
    """Within: a function (step, steps done before) -> the same step, which writes a trace of the span into the folder
    `folder`.

    What the step returns is not changed. The devices finish their work before the trace begins and before it ends, so
    that it holds these steps and no others. A training that stops within the span leaves a trace of what there was.
    Without a span nothing is traced.
    """
    with contextlib.ExitStack() as open_trace:
        yield lambda step, done: step if span is None else _around(step, done, span, folder, open_trace)


def _around(step: Step, done: int, span: Span, folder: Path, open_trace: contextlib.ExitStack) -> Step:
    numbers = itertools.count(done + 1)

    def call(state: TrainingState, batch: PyTree) -> tuple[TrainingState, Metrics]:
        number = next(numbers)
        if not span.start <= number <= span.last or done >= span.start:
            return step(state, batch)
        if number == span.start:
            jax.block_until_ready((state, batch))
            jax.profiler.start_trace(folder)
            open_trace.callback(jax.profiler.stop_trace)
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            result = step(state, batch)
        if number == span.last:
            jax.block_until_ready(result)
            open_trace.close()
        return result

    return call
