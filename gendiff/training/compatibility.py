"""Differences between a stored and an expected state or configuration, as one table."""

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.core.types import Config, Numeric, PyTree

Rows = list[tuple[str, str, str]]
"""(path, stored, wanted)"""

CONFIG = ("setting", "stored", "wanted")
"""Headings of the differences of two configurations."""

_ABSENT = "-"


class LeafOutline(TypedDict):
    """Shape and dtype of a leaf, as JSON."""

    shape: list[int]
    dtype: str


def leaves(tree: PyTree) -> dict[str, Numeric]:
    """Return the leaves of the tree by path.

    Raises:
        ConfigError: where two leaves have one path (a name with "/" in it can do that).
    """
    flat = trees.paths(tree)
    if len(flat) != len(jax.tree.leaves(tree)):
        raise ConfigError("two leaves of the state have the same path: rename one")
    return flat


def outline(flat: Mapping[str, Numeric]) -> dict[str, LeafOutline]:
    """Shape and dtype of each leaf.

    Raises:
        ConfigError: for a leaf that is no array of numbers, and for a Python integer that does not fit JAX's.
    """
    return {path: {"shape": list(np.shape(leaf)), "dtype": str(dtype_of(path, leaf))} for path, leaf in flat.items()}


def dtype_of(path: str, leaf: Numeric) -> Any:  # NumPy's dtype, or that of JAX's keys, which has no public type
    """Dtype of a leaf as it is stored: NumPy's own for NumPy arrays, what JAX makes of it for a Python number.

    Raises:
        ConfigError: see `outline`.
    """
    try:
        dtype = (
            leaf.dtype if isinstance(leaf, np.ndarray | np.generic | jax.ShapeDtypeStruct) else jnp.result_type(leaf)
        )
        if isinstance(leaf, int):
            np.asarray(leaf, dtype)
    except (TypeError, ValueError):
        raise ConfigError(
            f"leaf {path!r} of the state is {type(leaf).__name__}: it must be an array or a number"
        ) from None
    except OverflowError:
        raise ConfigError(
            f"leaf {path!r} = {leaf} of the state does not fit {dtype}: store numpy.int64({leaf})"
        ) from None
    if not jnp.issubdtype(dtype, jax.dtypes.extended) and not any(
        jnp.issubdtype(dtype, kind) for kind in (jnp.number, jnp.bool_)
    ):
        raise ConfigError(f"leaf {path!r} of the state has dtype {dtype}: it must hold numbers")
    return dtype


def is_numpy(leaf: object) -> bool:
    """Whether a leaf comes back as a NumPy array: it is one, or its dtype is one that JAX would narrow."""
    if isinstance(leaf, np.ndarray | np.generic):
        return True
    dtype = getattr(leaf, "dtype", None)
    return (
        isinstance(leaf, jax.ShapeDtypeStruct)
        and isinstance(dtype, np.dtype)
        and jax.dtypes.canonicalize_dtype(dtype) != dtype
    )


def from_outline(outline: Mapping[str, LeafOutline]) -> dict[str, jax.ShapeDtypeStruct]:
    """The inverse of `outline`, as shapes and dtypes without values."""
    return {
        path: jax.ShapeDtypeStruct(tuple(entry["shape"]), _dtype(entry["dtype"])) for path, entry in outline.items()
    }


def in_outline(
    stored: Mapping[str, LeafOutline], expected: Mapping[str, LeafOutline], *, ignore_float_width: bool = False
) -> Rows:
    """Paths whose presence, shape or dtype differ; on request not those where only the width of the float does."""

    def show(entry: LeafOutline | None) -> str:
        return _ABSENT if entry is None else f"{entry['dtype']}({', '.join(map(str, entry['shape']))})"

    rows = []
    for path in sorted(stored.keys() | expected.keys()):
        old, new = stored.get(path), expected.get(path)
        castable = (
            ignore_float_width and old and new and old["shape"] == new["shape"] and _floats(old["dtype"], new["dtype"])
        )
        if old != new and not castable:
            rows.append((path, show(old), show(new)))
    return rows


def in_config(stored: object, expected: object) -> Rows:
    """Keys of two nested configurations, joined by dots, whose values differ once both are JSON."""
    old, new = _flat_config(stored), _flat_config(expected)
    return [
        (key, old.get(key, _ABSENT), new.get(key, _ABSENT))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def split(rows: Rows, may_differ: Iterable[str]) -> tuple[Rows, Rows]:
    """Rows that matter, and rows under one of the keys that may differ."""
    free = tuple(may_differ)
    allowed = [row for row in rows if any(row[0] == key or row[0].startswith(f"{key}.") for key in free)]
    return [row for row in rows if row not in allowed], allowed


def table(rows: Rows, headings: tuple[str, str, str] = CONFIG, *, most: int | None = None) -> str:
    """The rows under their headings, in columns. With `most`, only so many rows, and how many more there are."""
    lines = [headings, *(tuple(map(_short, row)) for row in rows[:most])]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    text = "\n".join(f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in lines)
    return text if most is None or len(rows) <= most else f"{text}\n  … and {len(rows) - most} more"


def refuse(what: str, rows: Rows, headings: tuple[str, str, str] = CONFIG) -> None:
    """Refuse what differs.

    Raises:
        CheckpointMismatchError: with the table, unless there are no rows.
    """
    if rows:
        raise CheckpointMismatchError(
            f"{what} ({len(rows)} difference{'s' if len(rows) > 1 else ''}):\n{table(rows, headings)}"
        )


def compare_config(what: str, stored: object, expected: object, may_differ: Iterable[str]) -> None:
    """Compare the configuration that was stored with the present one.

    A warning tells of settings that differ and may, and of a configuration that was not stored.

    Raises:
        CheckpointMismatchError: with a table of the settings that differ and may not.
    """
    if stored is None:
        warnings.warn(
            f"{what} was written without a configuration: nothing tells whether it is of this one", stacklevel=4
        )
        return
    rows, allowed = split(in_config(stored, expected), may_differ)
    refuse(f"{what} was written by another configuration", rows)
    if allowed:
        warnings.warn(f"{what} was written with other settings:\n{table(allowed)}", stacklevel=4)


def as_json(name: str, value: Mapping[str, object]) -> Config:
    """Return the settings as they come back from a JSON file.

    Raises:
        ConfigError: for what JSON cannot hold.
    """
    try:
        settings: Config = json.loads(json.dumps(dict(value)))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name} must be JSON (dicts with string keys, lists, strings, numbers, None): {error}"
        ) from None
    return settings


def _flat_config(value: object, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        parts = (_flat_config(inner, f"{prefix}.{key}" if prefix else str(key)) for key, inner in value.items())
        return {key: text for part in parts for key, text in part.items()}
    return {prefix or "(all)": json.dumps(value, sort_keys=True)}


def _dtype(name: str) -> Any:  # as `dtype_of`
    if not name.startswith("key<"):
        return jnp.dtype(name)
    kinds = (jax.random.key(0, impl=kind).dtype for kind in ("threefry2x32", "rbg", "unsafe_rbg"))
    return next(kind for kind in kinds if str(kind) == name)


def _short(cell: str, longest: int = 60) -> str:
    return cell if len(cell) <= longest else f"{cell[: longest - 1]}…"


def _floats(*names: str) -> bool:
    return all(name.startswith(("float", "bfloat")) for name in names)
