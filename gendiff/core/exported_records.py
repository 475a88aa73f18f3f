"""Records in programs that `jax.export` writes to a file: leaves stay arrays, static fields become JSON."""

import dataclasses
import json

import jax.export


def register(record: type) -> None:
    """Let an exported program take and return this record after `serialize` and `deserialize`.

    The record is stored under its module and name. Static fields may hold numbers, texts, booleans, None, and tuples of
    those. A function cannot be written: a record with one crosses `jax.jit` and `jax.export.export`, but `serialize`
    raises TypeError. The process that reads the program first imports the module of the record. A class that is made
    inside of a function has no name to be found by, and is not registered; nor is one whose name is taken, as when a
    cell of a notebook runs again.

    Args:
        record: a dataclass that is a pytree.
    """
    if "<locals>" in record.__qualname__:
        return
    fields = [field.name for field in dataclasses.fields(record) if field.metadata.get("static")]

    def write(values: tuple[object, ...]) -> bytes:
        return json.dumps(
            [_plain(f"{record.__name__}.{name}", value) for name, value in zip(fields, values, strict=True)]
        ).encode()

    try:
        jax.export.register_pytree_node_serialization(
            record,
            serialized_name=f"{record.__module__}.{record.__qualname__}",
            serialize_auxdata=write,
            deserialize_auxdata=_read,
        )
    except ValueError:  # the name is taken
        return


def _read(stored: bytes) -> tuple[object, ...]:
    return tuple(map(_tuples, json.loads(bytes(stored))))


def _plain(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_plain(name, item) for item in value]
    raise TypeError(
        f"{name} = {value!r} cannot be written with an exported program: static fields must be numbers, texts, "
        "booleans, None or tuples of those. Export a function that takes and returns arrays in place of this record"
    )


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
