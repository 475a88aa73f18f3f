"""GGUF files as tests make them, byte by byte, so that anything in them may be wrong."""

import struct

import jax.numpy as jnp
import numpy as np

from gendiff.weights.quantised.gguf import KINDS
from gendiff.weights.quantised.gguf_blocks import FORMATS

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16}


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item):
    """The type and bytes of a value of the metadata."""
    match item:
        case bytes():
            return item  # as it shall stand there
        case bool():
            return struct.pack("<I?", 7, item)
        case int():
            return struct.pack("<II", 4, item)
        case float():
            return struct.pack("<If", 6, item)
        case str():
            return struct.pack("<I", 8) + text(item)
        case list():
            return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(map(text, item))
    return struct.pack("<IIQ", 9, 5, len(item)) + item.astype("<i4").tobytes()


def info(name, shape, code, start, axes=None):
    return (
        text(name)
        + struct.pack("<I", len(shape) if axes is None else axes)
        + struct.pack(f"<{len(shape)}QIQ", *shape[::-1], code, start)
    )


def gguf_bytes(
    metadata, tensors, *, magic=b"GGUF", version=3, counts=None, starts=None, alignment=32, codes=None, rest=b""
):
    """The bytes of a file.

    Args:
        metadata: by key; a value of bytes stands as it is.
        tensors: by name, float32 arrays, or (kind, shape, bytes).
        magic, version, counts, starts, codes, rest: what else than the right ones shall stand there.
        alignment: of tensors.
    """
    places, body = [], b""
    for name, tensor in tensors if isinstance(tensors, list) else tensors.items():
        kind, shape, raw = (
            tensor if isinstance(tensor, tuple) else ("F32", tensor.shape, tensor.astype("<f4").tobytes())
        )
        body += b"\0" * (-len(body) % alignment)
        places.append((name, shape, KINDS[kind].code, len(body)))
        body += raw
    infos = b"".join(
        info(name, shape, (codes or {}).get(name, code), (starts or {}).get(name, start))
        for name, shape, code, start in places
    )
    head = magic + struct.pack("<IQQ", version, *(counts or (len(places), len(metadata))))
    head += b"".join(text(key) + value(item) for key, item in metadata.items()) + infos
    return head + b"\0" * (-len(head) % alignment) + body + rest


def blocks(rng, kind, shape, scales=None):
    """(kind, shape, random bytes whose scales are moderate, or some of these)."""
    count, size = int(np.prod(shape)) // KINDS[kind].numbers, KINDS[kind].size
    if kind in DTYPES:
        numbers = rng.normal(size=count) if scales is None else rng.choice(scales, count)
        return kind, shape, numbers.astype(DTYPES[kind]).tobytes()
    raw = rng.integers(0, 256, (count, size)).astype(np.uint8)
    fields = raw.view(FORMATS[kind].fields)[:, 0]
    for name in ("unit", "minimum")[: 1 + ("minimum" in fields.dtype.names)]:
        fields[name] = rng.uniform(-2, 2, count) if scales is None else rng.choice(scales, count)
    return kind, shape, raw.tobytes()
