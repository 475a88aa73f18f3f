"""The quantisers of llama.cpp itself, from the library in the package xllamacpp; no model runs there."""

import ctypes
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gendiff.core import packed, trees
from gendiff.core.types import Params
from gendiff.weights import gguf, gguf_blocks

PACKAGE = "xllamacpp"
INSTALL = f"pip install --no-deps '{PACKAGE}>=2026.10'"
FALLBACK = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}
"""What llama.cpp takes for inputs that are no multiple of 256 (from memory of llama-quant.cpp)."""


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec(PACKAGE) is not None


def blocks(kind: str, rows: np.ndarray) -> np.ndarray:
    """Float32 rows (out, in) as the blocks (out, bytes) of a GGUF file, by `ggml_quantize_chunk`; all errors weigh the
    same. ImportError without the package.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"the quantisers of llama.cpp need the package {PACKAGE}: {INSTALL}")
    code, numbers, size = gguf.KINDS[kind]
    outputs, inputs = rows.shape
    if inputs % numbers:
        raise ValueError(f"{inputs} inputs are no whole blocks of {kind}: {numbers} must divide them")
    result = np.zeros((outputs, inputs // numbers * size), np.uint8)
    pack = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("*.so")))).ggml_quantize_chunk
    pack.restype = ctypes.c_size_t
    pack.argtypes = (ctypes.c_int, *(ctypes.c_void_p,) * 2, *(ctypes.c_int64,) * 3, ctypes.c_void_p)
    written = pack(code, rows.ctypes.data, result.ctypes.data, 0, outputs, inputs, None)
    if written != result.size:
        raise RuntimeError(f"ggml_quantize_chunk wrote {written} bytes of {kind}, and {result.size} were expected")
    return result


def quantised(
    params: Params, kind: str, table: str, pack: Callable[[str, np.ndarray], np.ndarray] = blocks
) -> tuple[Params, int]:
    """The parameters with all kernels in blocks of `kind` and the table of tokens in blocks of `table`, read by
    `gguf_blocks`, and how many bytes they take in a file, all else as float32.
    """
    result, total = list[Any](), 0
    for path, leaf in trees.paths(params).items():
        is_table = path == "token"
        if not is_table and not (re.search(r"(^|/)kernel$", path) and leaf.ndim == 2):
            result, total = [*result, leaf], total + leaf.nbytes
            continue
        rows = np.ascontiguousarray(np.asarray(leaf, np.float32) if is_table else np.asarray(leaf, np.float32).T)
        named = table if is_table else kind
        chosen = FALLBACK.get(named, named) if rows.shape[1] % 256 else named
        raw = pack(chosen, rows)
        result.append(gguf_blocks.kernel(chosen, raw, leaf.shape, table=is_table))
        total += raw.nbytes
    return jax.tree.unflatten(jax.tree.structure(params, is_leaf=packed.is_packed), result), total
