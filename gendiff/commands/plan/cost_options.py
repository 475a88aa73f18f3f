"""Options of the command `plan --cost`."""

import dataclasses
from typing import Annotated

import msgspec
import tyro

from gendiff.commands.plan.plan_options import Named, PartOfPeak
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Positive
from gendiff.runs.registry import Late, Tool

Range = Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1, max_length=2)]
"""A number, or the two ends of the range in which it lies."""
Shares = Annotated[tuple[PartOfPeak, ...], msgspec.Meta(min_length=1, max_length=2)]


@dataclasses.dataclass(frozen=True)
class CostOptions:
    """Say what training and serving a language model cost, and after how many days serving has cost as much.

    A number that is known within a range takes two values. Ranges are taken as independent and log-normal, and what
    follows from them has an interval of the same level.
    """

    parameters: Range = ()
    """Parameters that each token is multiplied by; of a mixture of experts, the active ones. Such as 70e9."""
    tokens: Range = ()
    """Tokens of the training, over all epochs, such as 1.4e12."""
    users: Range = ()
    """Users per day, such as 1e8."""
    user_tokens: Range = ()
    """Tokens per user and day, read and generated, such as 2000 20000."""
    attention: Annotated[tuple[Count, Count, Count] | None, tyro.conf.arg(metavar="LAYERS WIDTH CONTEXT")] = None
    """Counts attention too, 4 · layers · width · context operations per token: blocks, heads times their size, and the
    tokens of a text, of which a token sees half on average. None leaves it out.
    """
    accelerator: Named = "h100"
    """The device, for hours and prices."""
    utilisation: Shares = (1.0,)
    """Share of the device's operations that training reaches (MFU), such as 0.3 0.4. At 1 operations alone count."""
    serving_utilisation: Shares = (1.0,)
    """The same of serving. Generation at small batches is bounded by memory, such as 0.05 0.2."""
    per_hour: Range | None = None
    """Price of an hour of the device, in any currency; None prices nothing."""
    training_cost: Range | None = None
    """What the training cost, in the currency of --per-hour, where it is known; None computes it."""
    smoke: tyro.conf.FlagCreatePairsOff[bool] = False
    """Plan a model of 1,000 parameters, to see that it runs."""


def check(options: CostOptions) -> None:
    """ConfigError for a number that is missing or out of range, and for ranges that do not rise."""
    if options.smoke:
        return
    if not (options.parameters and options.tokens and options.users and options.user_tokens):
        raise ConfigError(
            "plan --cost needs a model and its users, as in --parameters 70e9 --tokens 1.4e12 --users 1e6 "
            "--user-tokens 5000"
        )
    ranges.check(options)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, tuple) and field.name != "attention":
            ranges.rising(field.name.replace("_", "-"), value)
    if options.training_cost is not None and options.per_hour is None:
        raise ConfigError("--training-cost is money: give --per-hour, the price of an hour that serves, too")
    if options.attention is not None and len(options.parameters) == 2:
        raise ConfigError("--attention belongs to one size: give --parameters one value")


COMMAND = Tool(
    CostOptions,
    Late("gendiff.commands.plan.break_even"),
    "When has serving a language model cost as much as training it?",
    check=check,
)
