"""What a result depends on beside its configuration: the commit, the versions and the machine."""

import contextlib
import importlib.metadata
import math
import os
import platform
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from gendiff.runs.reporting import processor

PROJECT = Path(__file__).resolve().parents[3]
PACKAGES = ("gendiff", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn")


class Environment(TypedDict):
    commit: str | None
    dirty: bool | None
    versions: dict[str, str]
    machine: dict[str, object]


def environment(project: Path = PROJECT) -> Environment:
    """The fields of Results that name the code and the machine. Gather them before a long run, so that they name the
    code that ran.

    commit, dirty: None outside a git working tree. dirty counts untracked files, but not those of experiments/results,
        which is output.
    """
    commit, dirty = source_state(project)
    return Environment(commit=commit, dirty=dirty, versions=versions(), machine=machine())


def source_state(project: Path = PROJECT) -> tuple[str | None, bool | None]:
    """(full commit hash, whether files differ from it), or (None, None) where `project` is not the top of a git working
    tree.
    """
    top = _git(project, "rev-parse", "--show-toplevel")
    commit = _git(project, "rev-parse", "--verify", "HEAD^{commit}")
    if top is None or commit is None or Path(top).resolve() != project.resolve():
        return None, None
    changes = _git(project, "status", "--porcelain", "--", ".", ":(exclude)experiments/results")
    return commit, None if changes is None else changes != ""


def versions() -> dict[str, str]:
    """Version of Python and of each package that numbers depend on; "absent" where it is not installed."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        installed[name] = "absent"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def machine() -> dict[str, object]:
    """Processor, cores this process may use, memory in GiB, platform, JAX's devices and its numerical precision; no
    host name.
    """
    import jax

    config: Any = jax.config  # its fields are made at run time
    devices = Counter(f"{device.platform}: {device.device_kind}" for device in jax.local_devices())
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory() / 2**30, 1) if math.isfinite(memory()) else None,
        "platform": platform.platform(),
        "devices": [f"{count} × {name}" for name, count in devices.items()],
        "matmul_precision": config.jax_default_matmul_precision or "default",
        "x64": bool(config.jax_enable_x64),
    }


def cpu() -> str:
    """The processor as `machine` has it. It loads no JAX."""
    return processor.name() or platform.processor() or platform.machine()


def memory() -> float:
    """Bytes of this machine; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _git(folder: Path, *arguments: str) -> str | None:
    # inside a git hook these variables name another repository than the folder's own
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    }
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", timeout=60, env=clean, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
