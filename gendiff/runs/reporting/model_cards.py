"""What the card of a committed network says of the results beside it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import jinja2

from gendiff.runs.reporting import formatting
from gendiff.runs.reporting.verdicts import Claim


class TrainedFile(Protocol):
    """What the file of a network says of itself."""

    @property
    def trained_seed(self) -> int: ...


def render(template: Path, file: Path, about: TrainedFile, claims: Iterable[Claim], **fields: object) -> str:
    """A card as Markdown. claims: those about the network. fields: of the template."""
    loader = jinja2.FileSystemLoader([template.parent, Path(__file__).with_name("templates")])
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    shared = {"name": file.stem, "megabytes": f"{file.stat().st_size / 10**6:.1f}", "about": about}
    rows = list(measured(claims, about.trained_seed))
    return environment.get_template(template.name).render(rows=rows, **shared, **fields)


def measured(claims: Iterable[Claim], trained_seed: int) -> Iterator[tuple[str, str, str, str]]:
    """(statement, needed, measured, verdict) of each claim of the seed of a network, or of none."""
    for claim in claims:
        if claim.seed in (None, trained_seed):
            ((value, interval),) = formatting.measured([(claim.value, *claim.interval)])
            yield (
                claim.statement,
                formatting.needed(claim.relation, claim.threshold),
                f"{value} {interval}",
                claim.verdict,
            )
