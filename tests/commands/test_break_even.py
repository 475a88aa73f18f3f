"""`plan --cost`: its numbers are those of `scaling.price`, and ranges widen as independent ones do."""

import dataclasses

import pytest

from gendiff.commands import command_line
from gendiff.commands.plan import break_even
from gendiff.commands.plan.break_even import CostOptions
from gendiff.scaling import accelerators, cost, price
from tests.tables import table

SMALL = CostOptions((7e9,), (2e12,), (1e6,), (5e3,), utilisation=(0.4,), serving_utilisation=(0.1,), per_hour=(2.0,))
WORDS = ("--parameters", "7e9", "--tokens", "2e12", "--users", "1e6", "--user-tokens", "5e3")


def plan(*words):
    return command_line.main(["plan", *words, "--cost"], {})


def tokens(options):
    factors = break_even.break_even_tokens(options)
    return price.product_interval(*((values[0], values[-1], power) for values, power in factors))


def test_the_break_even_is_that_of_the_library_and_the_bill_of_training_buys_as_many_tokens():
    expected = price.break_even_tokens(2e12, 0.4, 0.1)
    assert tokens(SMALL) == pytest.approx((expected,) * 3)
    bill = price.of_flops(cost.training_flops(7e9, 2e12), accelerators.H100.flops, 0.4, 2.0)
    assert tokens(dataclasses.replace(SMALL, training_cost=(float(bill),))) == pytest.approx((expected,) * 3)
    days = price.break_even_days(2e12, 5e9, 0.4, 0.1)
    assert f"after {days:.3g} days, which is {expected / 1e12:.3g} T tokens" in break_even.lines(SMALL)[-1]


def test_attention_and_the_size_change_the_bills_and_no_break_even():
    large = dataclasses.replace(SMALL, parameters=(175e9,), attention=(96, 12288, 2048))
    assert tokens(large) == pytest.approx(tokens(SMALL))
    forward = cost.forward_flops(175e9, attention=cost.attention_flops(cost.mean_seen(2048), 96, 1, 12288))
    assert f"serving: {forward / 1e9:.3g} G FLOP per token" in break_even.lines(large)[1]


def test_the_command_prints_intervals_and_says_what_they_are(capsys):
    assert plan(*WORDS[:-1], "2500", "10000") == 0
    output = capsys.readouterr().out
    assert "after 1.2 k [600, 2.4 k] days, which is 6 T tokens" in output and "log-normal" in output
    assert plan("--smoke") == 0 and "hours of H100 SXM" in capsys.readouterr().out


@table(
    ("words", "message"),
    [
        (WORDS[2:], "needs a model and its users, as in --parameters 70e9"),
        ((*WORDS, "--utilisation", "1.5"), "--utilisation 1.5: it must be 1 or 2 values"),
        ((*WORDS[:-1], "9", "5"), "--user-tokens 9.0 5.0: each number must be above the one before"),
        ((*WORDS[:-1], "1", "2", "3"), "it must be 1 or 2 values separated by spaces, each a finite number above 0"),
        ((*WORDS, "--training-cost", "1e8"), "give --per-hour"),
        (("--attention", "1", "2", "3", *WORDS, "--parameters", "1", "2"), "give --parameters one value"),
        ((*WORDS, "--batch", "8"), "Unrecognized options: --batch"),
    ],
)
def test_a_wrong_number_exits_2(words, message, capsys):
    assert plan(*words) == 2
    out, errors = capsys.readouterr()
    assert message in errors and not out
