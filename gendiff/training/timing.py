"""The wall-clock time of a training by phase, without gaps and without counting twice."""

import dataclasses
import time

PHASES = ("compile", "data", "step", "checkpoint", "idle")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of a training by phase. They add up to the wall clock.

    Attributes:
        compile: initial parameters, tracing and compilation.
        data: batches for which the devices waited. A batch that was ready before the step in front of it had ended cost
            nothing.
        step: the devices computed steps.
        checkpoint: states were restored, handed over for writing, or waited for until they were on disk.
        idle: all else, such as the caller's `on_step`.
    """

    compile: float = 0.0
    data: float = 0.0
    step: float = 0.0
    checkpoint: float = 0.0
    idle: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of the wall clock."""
        seconds: float = sum(dataclasses.astuple(self))
        return seconds

    def share(self, phase: str) -> float:
        """The part of the total in [0, 1] that one phase took; `share("step")` is known as goodput."""
        return getattr(self, phase) / self.total if self.total else 0.0


class Clock:
    """A clock that assigns the time since its last lap to a phase."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._spent = dict.fromkeys(PHASES, 0.0)

    def lap(self, phase: str) -> None:
        """Assign the time since the last lap to `phase`."""
        now = time.perf_counter()
        self._spent[phase] += now - self._last
        self._last = now

    @property
    def timing(self) -> Timing:
        """The laps so far."""
        return Timing(**self._spent)
