"""Records: frozen dataclasses that are also pytrees, so that numbers are data and functions are structure."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**options: Any) -> Any:
    """Dataclass field that is part of the tree's structure (a function, a name), not one of its leaves."""
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def record(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass registered with JAX; fields are leaves unless declared `static()`.

    A callable field that is no pytree itself (a plain function) counts as static, so that a record of functions passes through jit.
    """
    frozen = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)  # type: ignore[arg-type]
    names = tuple(field.name for field in fields)
    fixed = frozenset(field.name for field in fields if field.metadata.get("static"))

    def split(value: T) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]:
        still = {name for name in names if name in fixed or _is_plain_function(getattr(value, name))}
        return tuple(n for n in names if n not in still), tuple((n, getattr(value, n)) for n in names if n in still)

    def flatten_with_keys(value: T) -> tuple[Any, Any]:
        leaves, structure = split(value)
        return tuple((jax.tree_util.GetAttrKey(n), getattr(value, n)) for n in leaves), (leaves, structure)

    def unflatten(structure: Any, children: Any) -> T:
        made = object.__new__(frozen)  # leaves may be anything here, object() included: no checks
        for name, child in (*zip(structure[0], children, strict=True), *structure[1]):
            object.__setattr__(made, name, child)
        return made

    def flatten(value: T) -> tuple[Any, Any]:
        leaves, structure = split(value)
        return tuple(getattr(value, n) for n in leaves), (leaves, structure)

    jax.tree_util.register_pytree_with_keys(frozen, flatten_with_keys, unflatten, flatten)
    return frozen


def replace(value: T, **changes: Any) -> T:
    """`dataclasses.replace`."""
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def _is_plain_function(value: Any) -> bool:
    return callable(value) and jax.tree_util.all_leaves([value])
