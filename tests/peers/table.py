"""What the tests assert, as Markdown: `python -m tests.peers.table` writes README.md beside, and runs nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.peers import k_diffusion_cases
from tests.peers.diffusers_agreements import AGREEMENTS
from tests.peers.diffusers_differences import ABSENT, APART, DIFFERENCES

FILE = Path(__file__).with_name("README.md")
HEAD = Path(__file__).with_name("introduction.md")


def markdown() -> Iterator[str]:
    """Lines: what agrees, what differs, what has no counterpart."""
    yield HEAD.read_text(encoding="utf-8")
    peers = ("diffusers", AGREEMENTS, DIFFERENCES, APART, ABSENT), ("k-diffusion", *k_diffusion_cases.TABLES)
    for peer, agreements, differences, apart, absent in peers:
        yield from _rows((peer, "gendiff", "levels"), ((case, f"`{case.sampler}`", f"`{case.levels}`") for case in agreements))
        yield from _rows(
            (peer, "gendiff", "levels", "difference", "cause"),
            ((entry.case, f"`{entry.case.sampler}`", f"`{entry.case.levels}`", _size(entry.size), entry.cause) for entry in differences),
        )
        yield from _rows((peer, "driven apart"), apart.items())
        yield from _rows((peer, "without counterpart, as it is"), absent.items())


def _size(value: float) -> str:
    return "NaN" if value == float("inf") else f"{value:.2g}"


def _rows(head: tuple[str, ...], rows: Iterable[tuple]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


if __name__ == "__main__":
    FILE.write_text("\n".join(markdown()), encoding="utf-8")
