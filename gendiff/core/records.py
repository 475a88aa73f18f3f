"""Records: frozen dataclasses that are also pytrees, so that numbers are data and functions are structure."""

import dataclasses
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard, TypeVar, dataclass_transform

import jax

from gendiff.core import exported_records

T = TypeVar("T")


def static(**options: Any) -> Any:  # as `dataclasses.field`: what stands for a default has any type
    """A dataclass field that is part of the tree's structure, not a leaf: a function, a name or a setting.

    Args:
        **options: those of `dataclasses.field`, such as `default`.
    """
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def record(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that is a pytree, whose structure knows its class.

    Fields are leaves unless they are declared `static()`. A plain function in any other field, or in a tuple there, is
    held in a static record of its own. So a record of functions crosses `jit`, and equal functions do not retrace. A
    record whose static fields are numbers and texts also crosses a program that `jax.export` writes and reads (see
    `exported_records`).

    JAX rebuilds records through their constructor, with any object as a leaf. Checks of leaves therefore belong in the
    function that builds the record.

    Raises:
        TypeError: for a class with leaves that has a `__post_init__` of its own.
    """
    names: tuple[str, ...] = ()

    def hold_functions(self: T) -> None:
        for name in names:
            value = getattr(self, name)
            held = _held(value)
            if held is not value:
                object.__setattr__(self, name, held)

    checked = "__post_init__" in cls.__dict__
    if not checked:
        cls.__post_init__ = hold_functions  # type: ignore[attr-defined]
    frozen = dataclasses.dataclass(frozen=True)(cls)
    frozen.__no_type_check__ = True  # type: ignore[attr-defined]  # a checker of annotations must let JAX put any leaf in
    names = tuple(field.name for field in dataclasses.fields(frozen) if not field.metadata.get("static"))  # type: ignore[arg-type]
    if checked and names:
        raise TypeError(f"{cls.__name__} has leaves: check them in the function that builds it, not in __post_init__")
    _register(frozen, names)
    exported_records.register(frozen)
    return frozen


def replace(value: T, /, **changes: object) -> T:
    """The record with some fields replaced, as by `dataclasses.replace`."""
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def _register(cls: type, names: tuple[str, ...]) -> None:
    """As `jax.tree_util.register_dataclass` does, but with the class in the structure.

    JAX compares structures of such dataclasses without their class (0.10 to 0.12). Where the fields were alike, `jit`
    of jax 0.10 answered about one of 128 pairs of records with the program of the other class.
    """
    static_names = tuple(field.name for field in dataclasses.fields(cls) if field.name not in names)
    keys = [jax.tree_util.GetAttrKey(name) for name in names]
    leaves, structure = _reader(names), _reader(static_names)

    def flatten(value: object) -> tuple[tuple[object, ...], tuple[object, ...]]:
        return leaves(value), structure(value)

    def flatten_with_keys(value: object) -> tuple[tuple[tuple[object, object], ...], tuple[object, ...]]:
        return tuple(zip(keys, leaves(value), strict=True)), structure(value)

    def unflatten(static_values: tuple[object, ...], values: Iterable[object]) -> object:
        return cls(**dict(zip(names, values, strict=True)), **dict(zip(static_names, static_values, strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _reader(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """A function that answers these attributes of a value, as a tuple."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


@record
class Held:
    """A plain function as a pytree without leaves."""

    function: Callable[..., object] = static()

    def __call__(self, *args: object, **options: object) -> object:
        """What the function answers."""
        return self.function(*args, **options)


def _held(value: object) -> object:
    if isinstance(value, tuple) and any(_is_plain_function(item) for item in value):
        return jax.tree.map(_held, value)
    return Held(value) if _is_plain_function(value) else value


def _is_plain_function(value: object) -> TypeGuard[Callable[..., object]]:
    return callable(value) and jax.tree_util.all_leaves([value])
