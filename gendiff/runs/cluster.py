"""Which of how many processes this is: what SLURM, Open MPI, GKE, Kubernetes, a Cloud TPU or options by hand say."""

import dataclasses
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gendiff.core.errors import ConfigError

Mode = Literal["auto", "on", "off"]


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of how many processes this is, by what the environment or the command line says; None where only JAX can
    find out.

    coordinator: HOST:PORT of process 0. devices: the numbers of this process's GPUs, where JAX would choose wrongly.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    devices: tuple[int, ...] | None = None


def find(environment: Mapping[str, str]) -> Place | None:
    """The place that variables of a cluster name; None where they speak of one process, or say nothing.

    By hand: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. SLURM within `srun`, Open MPI, TPU workers
    of GKE, an indexed job of Kubernetes with the package `kubernetes`. Raises ConfigError for a variable by hand that
    is no whole number.
    """
    by_hand = Place(
        environment.get("JAX_COORDINATOR_ADDRESS"),
        _number(environment, "JAX_NUM_PROCESSES"),
        _number(environment, "JAX_PROCESS_ID"),
    )
    cluster = _cluster(environment)
    if by_hand == Place() and cluster is None:
        return None
    values = {name: value for name, value in vars(by_hand).items() if value is not None}
    job = dataclasses.replace(cluster or Place(), **values)
    return None if job.processes == 1 else job


def settle(
    mode: Mode, coordinator: str | None, processes: int | None, process: int | None, connected: bool = True
) -> Place | None:
    """The place by options, which win, and by the environment; None where this process is alone.

    connected: the processes must find each other. Raises ConfigError where mode "on" is not told enough, and for
    options that contradict each other.
    """
    options = Place(coordinator, processes, process)
    values = {name: value for name, value in vars(options).items() if value is not None}
    if mode == "off":
        if values:
            raise ConfigError(f"--{next(iter(values))} has no meaning with --distributed off: leave one out")
        return None
    detected = find(os.environ)
    if detected is None and not values:
        if mode == "on":
            raise ConfigError(
                "--distributed on: no cluster is found; give --coordinator HOST:PORT --processes N --process I"
            )
        return None
    resolved = dataclasses.replace(detected or Place(), **values)
    by_hand = _cluster(os.environ) is None
    needed = ("coordinator", "processes", "process") if connected else ("processes", "process")
    if by_hand and (missing := [f"--{name}" for name in needed if getattr(resolved, name) is None]):
        raise ConfigError(
            f"{', '.join(missing)} is not given: a start by hand needs {', '.join(f'--{name}' for name in needed)}"
        )
    if resolved.processes is not None and resolved.processes < 1:
        raise ConfigError(f"--processes {resolved.processes} must be at least 1")
    if (
        resolved.processes is not None
        and resolved.process is not None
        and not 0 <= resolved.process < resolved.processes
    ):
        raise ConfigError(f"--process {resolved.process} is outside 0 … {resolved.processes - 1}")
    if resolved.coordinator is not None and not resolved.coordinator.rpartition(":")[2].isdecimal():
        raise ConfigError(f"--coordinator {resolved.coordinator} has no port: give HOST:PORT, such as node1:12345")
    return None if resolved.processes == 1 else resolved


def _cluster(environment: Mapping[str, str]) -> Place | None:
    """What a scheduler's variables say, where JAX finds the rest; None for none of them."""
    slurm = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
    if all(name in environment for name in slurm):
        return Place(
            None, int(environment["SLURM_NTASKS"]), int(environment["SLURM_PROCID"]), _slurm_devices(environment)
        )
    if "OMPI_COMM_WORLD_SIZE" in environment:
        return Place(None, int(environment["OMPI_COMM_WORLD_SIZE"]), int(environment["OMPI_COMM_WORLD_RANK"]))
    workers = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if workers and "TPU_WORKER_ID" in environment:  # GKE
        here = len(workers.split(","))
        slices, number = (
            int(environment.get("MEGASCALE_NUM_SLICES") or 1),
            int(environment.get("MEGASCALE_SLICE_ID") or 0),
        )
        return Place(None, here * slices, int(environment["TPU_WORKER_ID"]) + here * number)
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys() and importlib.util.find_spec(
        "kubernetes"
    ):
        return Place(None, None, int(environment["JOB_COMPLETION_INDEX"]))
    if _on_a_tpu_machine(environment):
        return Place()
    return None


def _slurm_devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """JAX gives each task the GPU of its number on the node. That is wrong where a task sees one GPU alone, or has a
    node for itself.
    """
    visible = [each for each in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    alone = environment.get("SLURM_STEP_NUM_NODES") == environment["SLURM_NTASKS"]
    return tuple(range(len(visible))) if len(visible) == 1 or (alone and visible) else None


def _on_a_tpu_machine(environment: Mapping[str, str]) -> bool:
    """Whether a Cloud TPU is here; only its metadata server, which JAX asks, knows of others."""
    if environment.get("JAX_PLATFORMS", "tpu") != "tpu" or importlib.util.find_spec("libtpu") is None:
        return False
    return Path("/dev/accel0").exists() or Path("/dev/vfio/0").exists()


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is not None and not text.isdecimal():
        raise ConfigError(f"{name} = {text!r} must be a whole number")
    return None if text is None else int(text)
