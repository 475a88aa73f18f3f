"""Settings of the backend that a program may choose and a library may not: compiler options, the compile cache, which devices there are."""

import os
from pathlib import Path

import jax

from experiments.errors import DeviceError

CACHE_VARIABLE = "GENDIFF_COMPILE_CACHE"
"""Environment variable that names the folder of the persistent compile cache; unset means none."""


def compiler_options() -> dict[str, str]:
    """For the outermost jit, the only one that takes them: `jax.jit(f, compiler_options=devices.compiler_options())`.

    On CPU, jaxlib 0.10 and later give 3x3 convolutions to YNNPACK, which runs those of 64 channels and fewer on one thread; limited to
    dots, it leaves them to threaded Eigen (a small U-Net: 28.7 -> 37.9 images/s on 2 cores with jax 0.10.2, 36.6 -> 39.6 with 0.12).
    Nothing on other backends, nor outside the versions where this was tried: an option that the compiler does not know is an error.
    """
    release = tuple(int(part) for part in jax.__version__.split(".")[:2])
    if jax.default_backend() == "cpu" and (0, 10) <= release < (0, 13):
        return {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    return {}


def use_compile_cache(folder: str | None = None) -> Path | None:
    """Keeps compiled programs in `folder`, or where the environment variable says, for the next process; None leaves JAX as it is."""
    chosen = folder or os.environ.get(CACHE_VARIABLE)
    if not chosen:
        return None
    path = Path(chosen).expanduser().absolute()
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)  # the default of 1 s leaves out most programs of a small network
    return path


def local() -> list[jax.Device]:
    """The devices of this process. Raises DeviceError with a hint where the chosen platform is absent."""
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # the latter where JAX was built without the platform
        wanted = os.environ.get("JAX_PLATFORMS", "")
        first = next(iter(str(error).splitlines()), "JAX has no such platform")
        hint = {
            "cuda": "install the plug-in: pip install 'gendiff[cuda12]' (or cuda13)",
            "tpu": "install the plug-in: pip install 'gendiff[tpu]'",
        }
        advice = hint.get(wanted.split(",")[0], "see what JAX_PLATFORMS names")
        raise DeviceError(f"no device of JAX_PLATFORMS={wanted!r}: {first}; {advice}, or run with JAX_PLATFORMS=cpu") from error
