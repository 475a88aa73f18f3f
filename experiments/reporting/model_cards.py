"""What the card of a committed network says of the results beside it."""

from collections.abc import Iterable, Iterator

from experiments.reporting import formatting, verdicts
from experiments.reporting.verdicts import Claim


def measured(claims: Iterable[Claim], trained_seed: int) -> Iterator[tuple[str, str, str, str]]:
    """(statement, needed, measured, verdict) of each claim, of the seed of a network or of none; the verdict is that of all seeds."""
    for summary in verdicts.by_id(claims).values():
        for claim in [claim for claim in summary.claims if claim.seed in (None, trained_seed)][:1]:
            ((value, interval),) = formatting.measured([(claim.value, *claim.interval)])
            yield claim.statement, formatting.needed(claim.relation, claim.threshold), f"{value} {interval}", summary.verdict
