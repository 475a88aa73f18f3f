"""What the tests assert, as Markdown: `python -m tests.peers.table` writes README.md beside, and runs nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.peers.agreements import AGREEMENTS
from tests.peers.cases import Case
from tests.peers.differences import ABSENT, APART, DIFFERENCES

FILE = Path(__file__).with_name("README.md")
HEAD = Path(__file__).with_name("introduction.md")


def markdown() -> Iterator[str]:
    """Lines: what agrees, what differs, what has no counterpart."""
    yield HEAD.read_text(encoding="utf-8")
    for peer in AGREEMENTS:
        yield from _rows((peer, "gendiff", "levels"), map(_sides, AGREEMENTS[peer]))
        differing = (
            (*_sides(entry.case), f"{entry.size:.2g}".replace("inf", "NaN"), entry.cause) for entry in DIFFERENCES[peer]
        )
        yield from _rows((peer, "gendiff", "levels", "difference", "cause"), differing)
        yield from _rows((peer, "driven apart"), APART[peer].items())
        yield from _rows((peer, "without counterpart, as it is"), ABSENT[peer].items())


def _sides(case: Case) -> tuple[str, str, str]:
    return str(case), f"`{case.sampler}`", f"`{case.levels}`"


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield from (f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    yield ""


if __name__ == "__main__":
    FILE.write_text("\n".join(markdown()), encoding="utf-8")
