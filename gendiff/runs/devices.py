"""Settings of the backend that a program may choose and a library may not: compiler options, and which devices there
are.
"""

import contextlib
import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jaxlib.version

from gendiff.core import extras
from gendiff.core.types import Jitted, PyTree
from gendiff.runs import compile_cache
from gendiff.runs.errors import DeviceError

ONEDNN = "xla_cpu_experimental_onednn_custom_call"
"""The compiler option that gives products and convolutions to oneDNN."""
_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h."""
_YNNPACK = "xla_cpu_experimental_ynn_fusion_type"


def compiler_options(libraries: bool = True) -> dict[str, str | int]:
    """For the outermost jit, the only one that takes them: `jax.jit(f, compiler_options=devices.compiler_options())`.

    On an x86 CPU they give products and convolutions to oneDNN, which is part of jaxlib, and leave reductions, such as
    those of a softmax, to YNNPACK. On 2 cores with jax 0.12 that made sampling with a U-Net of 32×32 pixels 1.1 times
    as fast as XLA's own choice, its training step 1.4 times and that of DiT-S/2 1.1 times. Where all programs are kept
    for the next process they leave out oneDNN, whose calls jaxlib cannot store (it ends in a segmentation fault);
    convolutions then go to Eigen, which runs small ones on all cores.

    libraries: False leaves the choice of libraries to XLA, as programs with single rows, bfloat16 or 8 bits need it.
    With jax 0.10 and 0.11 it also asks for the schedule of least memory, which is the default since 0.12: theirs
    unpacks all packed kernels before the first call.

    Nothing on other backends, nor outside the versions where this was tried: an option that the compiler does not know
    is an error.
    """
    release = jax_release()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if jax.default_backend() != "cpu" or not x86 or not (0, 10) <= release < (0, 13):
        return {}
    if not libraries:
        return {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"} if release < (0, 12) else {}
    if compile_cache.keeps_all():
        return {_YNNPACK: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}
    return {_YNNPACK: "LIBRARY_FUSION_TYPE_REDUCE", ONEDNN: True}


def jax_release() -> tuple[int, ...]:
    """The first two numbers of JAX's version."""
    return tuple(int(part) for part in jax.__version__.split(".")[:2])


def jit(function: Callable[..., PyTree], *, libraries: bool = True, **options: Any) -> Jitted:  # options of jax.jit
    """`jax.jit` with the compiler options of this backend. libraries: as of `compiler_options`. options: of
    `jax.jit`.
    """
    chosen = compiler_options(libraries)
    return storable(jax.jit(function, compiler_options=chosen, **options), chosen)


def storable(jitted: Jitted, options: dict[str, str | int]) -> Jitted:
    """A jitted function whose programs the compile cache, if there is one, may meet. options: of the compiler, which it
    was jitted with.
    """
    return compile_cache.Unkept(jitted) if ONEDNN in options and compile_cache.in_use() else jitted


def libraries_suit(dtype: str, storage: str = "full") -> bool:
    """Whether programs with weights of this dtype, and kept in this way, are for the libraries of `compiler_options`.

    Of weights that are no whole float32 ones these make float32 copies: 10 GiB for Stable Diffusion XL.
    """
    return dtype == "float32" and storage == "full"


@contextlib.contextmanager
def compiled_quickly(on: bool = True) -> Iterator[None]:
    """Inside, a CPU's programs are compiled in less time and run more slowly, as a smoke run wants: it compiles more
    than it computes.

    Those of the library and of JAX are among them. Programs that were compiled before stay as they are. Those compiled
    inside are forgotten at the end: JAX would take them again for the same function, and a whole run after a smoke run
    would be slow and end in other bits.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    changes = on and _on_cpu() and not before
    jax.config.update("jax_disable_most_optimizations", before or changes)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
        if changes:
            jax.clear_caches()


def compiled(function: Jitted, *arguments: PyTree) -> Jitted:
    """The jitted function, compiled for arguments like these, after which the memory that compiling took goes back to
    the system.

    glibc keeps it for the process otherwise: 500 MiB for the training step of a small U-Net.
    """
    function.lower(*arguments).compile()
    _trim()
    return function


def give_back_memory() -> None:
    """Memory that is free now goes back to the system, and blocks of a MiB and more do as soon as they are freed.

    glibc otherwise keeps them for what comes later: 200 MiB where the U-Net of Stable Diffusion is read and run.
    """
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**20)
    _trim()


def _on_cpu() -> bool:
    """False too where the chosen platform is absent: `local` tells of that."""
    try:
        return jax.default_backend() == "cpu"
    except (RuntimeError, AssertionError):
        return False


def _trim() -> None:
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def compilation() -> dict[str, str]:
    """What the bits of a compiled program depend on beside the program: only under equal settings does a resumed run
    end bitwise equal.
    """
    kinds = sorted({f"{device.platform} {device.device_kind}" for device in jax.devices()})
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "devices": f"{jax.device_count()} × {', '.join(kinds)}",
        "compile cache": "on" if compile_cache.keeps_all() else "off",
    }


def only_cpu() -> None:
    """From now on JAX looks for no accelerator. It has no effect after the first use of a device."""
    jax.config.update("jax_platforms", "cpu")


def local() -> list[jax.Device]:
    """The devices of this process.

    Raises DeviceError with a hint where the chosen platform is absent.
    """
    try:
        devices: list[jax.Device] = jax.local_devices()
        return devices
    except (RuntimeError, AssertionError) as error:  # the latter where JAX was built without the platform
        platforms = os.environ.get("JAX_PLATFORMS", "")
        first = next(iter(str(error).splitlines()), "JAX has no such platform")
        hint = {"cuda": f"{extras.install('cuda12')} (or cuda13)", "tpu": extras.install("tpu")}
        advice = hint.get(platforms.split(",")[0], "see what JAX_PLATFORMS names")
        raise DeviceError(
            f"no device of JAX_PLATFORMS={platforms!r}: {first}; {advice}, or run with JAX_PLATFORMS=cpu"
        ) from error
