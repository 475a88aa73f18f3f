"""Several processes that run one command: who they are, how they find each other, what must be equal, and how they end.

Process 0 writes all that a run folder keeps; checkpoints are written by all. JAX's own preemption service stays off,
because it takes SIGTERM away from `interruption`: the steps of a training agree on where to stop (see
`gendiff.training.agreement`).
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from gendiff.core.errors import ConfigError, DataError, GendiffError
from gendiff.runs import cluster, devices, errors, rendezvous
from gendiff.runs.cluster import Mode
from gendiff.runs.errors import PeerError
from gendiff.training import compatibility

HEARTBEAT = 30
"""Seconds without a sign of life after which JAX counts a process as dead and the others end; its default is 100. Where
the processes have met, `rendezvous` notices first, and JAX waits twice as long.
"""
ARRIVAL = 300
"""Seconds for which the first process waits for the last."""
FAREWELL = 5.0
"""Seconds for which a process that ends waits for the others."""
_LINKS: list[rendezvous.Link] = []
"""The connections of this process, if it has met the others."""


def join(
    mode: Mode,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    *,
    served: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Connects this process with the others, if there are any. Call it before JAX has a backend.

    served: whether what follows can use several processes. say: takes a line on whom this process waits for. Raises
    ConfigError where it cannot, and as `cluster.settle` and `rendezvous.meet` do, and PeerError where the others do
    not come.
    """
    job = cluster.settle(mode, coordinator, processes, process)
    if job is None:
        return
    if not served:
        count = job.processes or "several"
        raise ConfigError(
            f"{count} processes, and this experiment trains on one: start it once, or give --distributed off"
        )
    silence = HEARTBEAT
    if job.coordinator is not None and job.processes is not None and job.process is not None:
        greeting = rendezvous.greeting(job.process, job.processes)
        _LINKS.append(rendezvous.meet(job.coordinator, greeting, within=ARRIVAL, say=say))
        silence = 2 * HEARTBEAT
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator_address=job.coordinator,
            num_processes=job.processes,
            process_id=job.process,
            local_device_ids=job.devices,
            initialization_timeout=ARRIVAL,
            heartbeat_timeout_seconds=silence,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        where = "" if job.coordinator is None else f" at {job.coordinator}"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PeerError(f"the processes do not find each other{where}: {reason}") from error
    devices.local()


def share(mode: Mode, processes: int | None, process: int | None) -> tuple[int, int]:
    """(this process, all processes) for work that needs no connection; (0, 1) without others. Raises as
    `cluster.settle` does.
    """
    job = cluster.settle(mode, None, processes, process, connected=False)
    if job is not None and job.process is not None and job.processes is not None:
        return job.process, job.processes
    return (0, 1) if mode == "off" else (jax.process_index(), jax.process_count())


def several() -> bool:
    """Whether other processes take part."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def all_devices() -> list[jax.Device]:
    """The devices of all processes that train together. Raises DeviceError as `devices.local` does."""
    local = devices.local()
    return jax.devices() if several() else local


def check_served(served: bool) -> None:
    """ConfigError where JAX spans processes that what follows cannot use: each would do the same, in the same
    folder.
    """
    if jax.process_count() > 1 and not (served and several()):
        raise ConfigError(
            f"JAX spans {jax.process_count()} processes, and this command uses one: start it once, without "
            "jax.distributed"
        )


def first() -> bool:
    """Whether this process writes what a run folder keeps."""
    return not several() or jax.process_index() == 0


def check_equal(what: str, settings: Mapping[str, object]) -> None:
    """ConfigError on every process, naming the process and the settings, where one has other ones. Every process must
    call it.
    """
    if not several():
        return
    stated = [json.loads(text) for text in _gather(json.dumps(settings, sort_keys=True))]
    for process, other in enumerate(stated):
        if rows := compatibility.in_config(stated[0], other):
            table = compatibility.table(rows, ("setting", "process 0", f"process {process}"), most=7)
            raise ConfigError(
                f"{what} of process {process} differs from that of process 0: give all the same command\n{table}"
            )


@contextmanager
def leading() -> Iterator["Lead"]:
    """Process 0: within, `go()` lets the others begin; leaving without it ends them, by an error of process 0 if there
    was one.
    """
    lead = Lead()
    try:
        yield lead
    except GendiffError as error:
        lead.say((errors.exit_code(error) or errors.FAILED, str(error)))
        raise
    lead.say((errors.DONE, ""))


class Lead:
    """Says once how it goes on."""

    def __init__(self) -> None:
        self._said = False

    def go(self) -> None:
        """The others begin."""
        self.say(None)

    def say(self, end: tuple[int, str] | None) -> None:
        """end: None to go on, else the exit code and the message of the end."""
        if several() and not self._said:
            _gather(json.dumps(end))
        self._said = True


def follow() -> bool:
    """Whether process 0 lets this one begin; False where all is done. Raises process 0's error where it has one."""
    end = json.loads(_gather("")[0])
    if end is None:
        return True
    code, message = end
    if code == errors.DONE:
        return False
    raise (ConfigError if code == errors.USAGE else DataError)(f"process 0: {message}")


@contextmanager
def first_alone() -> Iterator[None]:
    """Process 0 runs the block before the others do, so that it can prepare what they read. Its error ends them too."""
    if first():
        with leading():
            yield
    else:
        follow()
        yield


def part() -> None:
    """All processes come here; from now on each is alone."""
    _unlink(errors.DONE)
    if several():
        jax.distributed.shutdown()


def leave(code: int) -> None:
    """Ends this process, and does not return, where others take part: none of them is waited for in vain."""
    _unlink(code)
    if not jax.distributed.is_initialized():
        return
    if code != errors.LOST_PEER:
        farewell = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        farewell.start()
        farewell.join(FAREWELL)  # at once where all end
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the end of the interpreter would wait for threads that wait for a dead process


def lost(error: BaseException) -> bool:
    """Whether an error of JAX means that another process has ended."""
    text = f"{error} {error.__cause__}".lower() if isinstance(error, RuntimeError | ValueError | OSError) else ""
    words = ("gloo", "nccl", "coordination service", "heartbeat", "connection reset", "barrier")
    return several() and any(word in text for word in words)


def lost_peer(error: BaseException) -> PeerError:
    """What is said of an error for which `lost` is true."""
    known = next((lost for link in _LINKS if (lost := link.who_is_lost())), "")
    first = next(iter(str(error).splitlines()), "")
    return PeerError(f"{known or f'another process has ended: {first}'}; start all of them again")


def _unlink(code: int) -> None:
    while _LINKS:
        _LINKS.pop().leave(code)


def _gather(text: str) -> list[str]:
    """The text of every process, by number."""
    content = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(content)))
    padded = np.zeros(max(1, int(sizes.max())), np.uint8)
    padded[: len(content)] = content
    rows: Iterable[np.ndarray] = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]
