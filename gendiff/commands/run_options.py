"""Options of `run` that are no part of the experiment's configuration."""

import dataclasses
from typing import Literal

import tyro

from gendiff.runs import cluster


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options of `run` that are no part of the experiment's configuration."""

    preset: str = "full"
    """Named configuration to begin with; the options below then change single fields."""
    smoke: tyro.conf.FlagCreatePairsOff[bool] = False
    """Run everything in seconds to see that it runs; the verdict is INCONCLUSIVE."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what would be done and what it costs, and do nothing: no accelerator is touched."""
    out: str | None = None
    """Run folder; None is runs/NAME (runs/NAME-smoke with --smoke)."""
    seed: int | None = None
    """One seed in place of the preset's, from 0 to 2**32 - 1."""
    resume: Literal["latest", "latest-valid"] = "latest"
    """Checkpoint to go on from: latest-valid goes back past damaged ones and says so."""
    compile_cache: str | None = None
    """Folder that keeps all compiled programs for the next process, which on a CPU then do without oneDNN; none keeps
    nothing.

    None takes $GENDIFF_COMPILE_CACHE, or keeps programs without oneDNN in ~/.cache/gendiff."""
    profile: str | None = None
    """START:COUNT traces COUNT steps of each training from step START on, for xprof or Perfetto, into profile/ of the
    run.
    """
    log: str = "tensorboard"
    """Where metrics are shown beside metrics.jsonl: tensorboard, wandb or trackio, several with commas between them, or
    none.
    """
    mesh: str | None = None
    """Axes over which the devices split batches (data), parameters (fsdp) and layers (tensor), such as data=4,fsdp=2.

    `all` takes the devices that the others leave, as in fsdp=all; None is data=all."""
    shards: str | None = None
    """Of a sweep: I/N computes every N-th row from row I on, beside other processes, and judges nothing; `run` without
    it does the rest.
    """
    distributed: cluster.Mode = "auto"
    """Train with other processes: auto where SLURM, GKE or a TPU pod starts several, on fails where there are none, off
    never.
    """
    coordinator: str | None = None
    """HOST:PORT of process 0, to start several processes by hand; None takes $JAX_COORDINATOR_ADDRESS, or what the
    cluster says.
    """
    processes: int | None = None
    """How many processes there are; None takes $JAX_NUM_PROCESSES, or what the cluster says."""
    process: int | None = None
    """The number of this process, from 0 on; None takes $JAX_PROCESS_ID, or what the cluster says."""
