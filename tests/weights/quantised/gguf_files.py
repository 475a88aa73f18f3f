"""GGUF files as tests make them, byte by byte, so that anything in them may be wrong."""

import struct

import numpy as np

CODES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q5_0": 6,
    "Q5_1": 7,
    "Q8_0": 8,
    "Q4_K": 12,
    "Q5_K": 13,
    "Q6_K": 14,
    "BF16": 30,
}
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "BF16": (1, 2),
}


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
        places.append((name, shape, CODES[kind], len(body)))
        body += raw
    infos = b"".join(
        info(name, shape, (codes or {}).get(name, code), (starts or {}).get(name, start))
        for name, shape, code, start in places
    )
    head = magic + struct.pack("<IQQ", version, *(counts or (len(places), len(metadata))))
    head += b"".join(text(key) + value(item) for key, item in metadata.items()) + infos
    return head + b"\0" * (-len(head) % alignment) + body + rest


def blocks(rng, kind, shape):
    """(kind, shape, random bytes whose scales are moderate)."""
    numbers, size = BLOCKS[kind]
    raw = rng.integers(0, 256, (int(np.prod(shape)) // numbers, size)).astype(np.uint8)
    first = {kind: (0,) for kind in ("Q4_0", "Q5_0", "Q8_0", "F16")} | {
        kind: (0, 2) for kind in ("Q4_1", "Q5_1", "Q4_K", "Q5_K")
    }
    places = (first | {"Q6_K": (208,)}).get(kind, ())
    for position in places:
        raw[:, position : position + 2] = rng.uniform(-2, 2, (len(raw), 1)).astype("<f2").view(np.uint8)
    if kind in ("F32", "BF16"):
        floats = rng.normal(size=len(raw)).astype("<f4").view(np.uint8).reshape(-1, 4)
        raw = floats if kind == "F32" else floats[:, 2:]
    return kind, shape, raw.tobytes()
