"""The range of a field says what is refused, and how."""

import dataclasses
import re
from typing import Annotated, Literal

import msgspec
import pytest

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Positive
from tests.refusals import Ends, ends, refusals


@pytest.mark.fault("command line: a number out of its range")
def test_a_bad_number_exits_2_and_the_corrected_command_has_nothing_in_its_way(tmp_path, capsys):
    rows = (
        "--channels 0",
        "--channels",
        "--ema 1",
        "--learning-rate nan",
        "--seeds",
        "--seeds 3 3",
        "--draw-size 1",
        "--sampling-steps 0",
    )
    for words in rows:
        assert (
            command_line.main(["run", "digits", *words.split(), "--out", str(tmp_path / "run")], catalogue.EXPERIMENTS)
            == 2
        ), words
        message = capsys.readouterr().err
        assert words.split()[0].removesuffix("s") in message and len(message.splitlines()) <= command_line.MOST_LINES, (
            words
        )
        assert not (tmp_path / "run").exists()


@dataclasses.dataclass(frozen=True)
class Numbers:
    count: Count = 1
    rate: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5
    several: Distinct[Positive] = (1.0, 2.0)
    how: Literal["fast", "slow"] = "fast"
    maybe: int | None = None


def number(**change):
    return lambda: ranges.check(dataclasses.replace(Numbers(), **change))


test_a_message_says_what_the_value_must_be = refusals(
    *(
        (number(**change), re.escape(message), ConfigError)
        for change, message in (
            ({"count": 0}, "--count 0: it must be a whole number from 1 to 2147483647"),
            ({"count": True}, "--count True: it must be a whole number"),
            ({"rate": 1.0}, "--rate 1.0: it must be a finite number at least 0 and below 1"),
            (
                {"several": ()},
                "--several (nothing): it must be 1 or more values separated by spaces, each a finite number above 0",
            ),
            ({"several": (2.0, 2.0)}, "each of them once"),
            ({"how": "slowly"}, "--how slowly: it must be one of fast, slow"),
            ({"maybe": 0.5}, "--maybe 0.5: it must be a whole number, or None"),
        )
    )
)


@dataclasses.dataclass(frozen=True)
class Each:
    count: ranges.Count = 1
    natural: ranges.Natural = 0
    several: ranges.Several = 2
    seed: ranges.Seed = 0
    positive: ranges.Positive = 1.0
    not_negative: ranges.NonNegative = 0.0
    share: ranges.Share = 0.5
    decay: ranges.Decay = 0.5


def taking(name):
    return lambda value: ranges.check(Each(**{name: value}))


test_every_kind_of_number_is_taken_up_to_its_exact_ends = ends(
    Ends(taking("count"), "--count", 1, 2**31 - 1),
    Ends(taking("natural"), "--natural", 0, 2**31 - 1),
    Ends(taking("several"), "--several", 2, 2**31 - 1),
    Ends(taking("seed"), "--seed", 0, 2**32 - 1),
    Ends(taking("positive"), "--positive", 0.0, open_low=True, open_high=True),
    Ends(taking("not_negative"), "--not-negative", 0.0, open_high=True),
    Ends(taking("share"), "--share", 0.0, 1.0),
    Ends(taking("decay"), "--decay", 0.0, 1.0, open_high=True),
)


def test_numbers_within_their_ranges_pass():
    ranges.check(Numbers())
