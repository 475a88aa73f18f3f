"""What may have happened to a valid file: bytes that are flipped, cut, moved or put in, values of its JSON that are
replaced, and free bytes in its place, as Hypothesis draws them.
"""

import copy
import json
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

VALUES = (
    *(None, True, False, 0, -1, 1, 2, 7, 2**31, 2**63, -(2**63), 10**30, 10**41, 1.5, -0.5, 1e308, 1e-308),
    *(float("inf"), "", "a", "1", "../x", "/etc/passwd", "\x1b[2J\r", "\ud800", "x" * 5000, "y\n" * 99),
    *([], [[]], [None], [1, "a"], {}, {"a": {}}, {"x" * 300: [1]}, [0] * 40, json.loads("[" * 70 + "]" * 70)),
)
"""That no setting has, or one of another kind."""
PIECES = (
    *(b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\", b"\n", b"\r\n", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b"null", b"NaN", b"-1", b"0", b"9" * 19, b"9" * 5000, b"1e999", b"[" * 9999, b"\\ud800", b"../", b"\x1b[2J"),
    *(struct.pack("<q", number) for number in (-1, 0, 1, 2**31, 2**62)),
)
"""Of files of all kinds."""
MOST = 2**16
"""Places in a file, whatever its size: fewer of them are nearer to its beginning."""
COUNTS, PLACE = st.sampled_from((1, 1, 1, 2, 3)), st.integers(0, MOST)
PAIRS = st.tuples(PLACE, PLACE)
CHANGES = st.sampled_from(("bit", "bit", "over", "over", "put in", "instead", "cut", "again"))
PUT_IN = st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=8))
ACTIONS, OTHERS = st.sampled_from(("value", "value", "value", "gone", "name", "again")), st.sampled_from(VALUES)
NAMES = st.sampled_from(("a", "_", "x" * 300, "é\n"))


def contents(name: str, valid: bytes, head: int | None = None) -> st.SearchStrategy[bytes]:
    """Bytes in place of those of a file.

    Args:
        name: of the file, whose ending says where JSON stands in it.
        valid: its bytes.
        head: how many of the first of them change; None all.
    """
    end = len(valid) if head is None else head
    changed = mutated(valid[:end]).map(lambda first: first + valid[end:])
    kinds = [changed, changed, st.binary(max_size=200)]
    form = FORMS.get(name.rpartition(".")[2])
    if form is not None:
        parsed, assembled = form(valid)
        kinds = [values := replaced(parsed).map(assembled), values, *kinds]
    return st.one_of(*kinds)


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes after one to three changes."""
    for _ in range(draw(COUNTS)):
        kind, piece = draw(CHANGES), draw(PUT_IN)
        first, second = sorted(at * len(content) // MOST for at in draw(PAIRS))
        start, span, rest = content[:first], content[first:second], content[second:]
        if kind == "cut":
            content = start
        elif kind == "bit":
            content = (
                start + bytes(each ^ 1 << piece[0] % 8 for each in content[first : first + 1]) + content[first + 1 :]
            )
        elif kind == "over":
            content = start + piece + content[first + len(piece) :]
        elif kind == "again":
            content = start + span + span + rest
        else:
            content = start + piece + (rest if kind == "instead" else span + rest)
    return content


@st.composite
def replaced(draw: st.DrawFn, value: Any) -> Any:
    """Values of JSON of which one to three are others, gone, or called otherwise."""
    root = [copy.deepcopy(value)]
    for _ in range(draw(COUNTS)):
        places = list(_places(root))
        holder, key = places[draw(PLACE) * (len(places) - 1) // MOST]
        kind, other = draw(ACTIONS), draw(OTHERS)
        if kind == "value" or holder is root:
            holder[key] = copy.deepcopy(other)
        elif isinstance(holder, list):
            holder[key : key + 1] = [] if kind == "gone" else [holder[key]] * 2
        else:
            moved = holder.pop(key)
            if kind != "gone":
                holder[draw(NAMES) + key] = moved
    return root[0]


def _places(holder: Any) -> Any:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def _of_json(valid: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    return json.loads(valid), lambda value: json.dumps(value).encode()


def _of_lines(valid: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    return [
        json.loads(line) for line in valid.splitlines()
    ], lambda value: "\n".join(map(json.dumps, value if isinstance(value, list) else [value])).encode() + b"\n"


def _of_header(valid: bytes) -> tuple[Any, Callable[[Any], bytes]]:
    """Of a safetensors file, whose texts may be JSON themselves."""
    end = 8 + struct.unpack("<Q", valid[:8])[0]
    header = json.loads(valid[8:end])
    notes = header.get("__metadata__", {})
    inner = {name: json.loads(text) for name, text in notes.items() if text.startswith("{")}

    def assembled(value: Any) -> bytes:
        outer, within = value if isinstance(value, list) and len(value) == 2 else (value, {})
        if isinstance(outer, dict) and isinstance(within, dict) and within and "__metadata__" in outer:
            outer["__metadata__"] = {name: json.dumps(text) for name, text in within.items()}
        content = json.dumps(outer).encode()
        return struct.pack("<Q", len(content)) + content + valid[end:]

    return [header, inner], assembled


FORMS: dict[str, Callable[[bytes], tuple[Any, Callable[[Any], bytes]]]] = {
    "json": _of_json,
    "jsonl": _of_lines,
    "safetensors": _of_header,
}
"""Ending -> the values that a file holds, and a function that writes others in their place."""
