from gendiff.runs.reporting import formatting
from tests.tables import table


@table(
    ("value", "text"),
    [
        (0.9637, "0.9637"),
        (1.4142, "1.414"),
        (212.34, "212.3"),
        (0.0, "0"),
        (-0.002, "−0.0020"),
        (5000, "5000"),
        (12345, "12\u2009345"),
    ]
    + [(1.5e-7, "1.500e−07"), (2.5e8, "2.500e+08"), (float("nan"), "NaN"), (float("inf"), "∞"), (float("-inf"), "−∞")],
)
def test_numbers_keep_four_digits_and_say_when_they_are_none(value, text):
    assert formatting.number(value) == text


@table(
    ("values", "decimals"),
    [
        *(((1.41, 1.5, 1.32), 2), ((0.97, 0.9512, 0.98), 4), ((1.0, 2.0), 0), ((), 0), ((float("nan"), 0.5), 1)),
        *(((1e-6, 1.0), None), ((3e8, 1e8), None)),
    ],
)
def test_numbers_that_stand_together_share_their_decimals(values, decimals):
    assert formatting.places(values) == decimals


def test_one_thing_is_singular():
    assert [formatting.amount(number, "step") for number in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]


def test_a_measured_number_has_the_digits_of_its_interval():
    assert formatting.measured([(3.469e-18, -0.0123, 0.0117), (0.02, 0.01, 0.03)]) == [
        ("0.0000", "[−0.0123, 0.0117]"),
        ("0.0200", "[0.0100, 0.0300]"),
    ]
    assert formatting.measured([(0.5, 0.4, 0.6), (3e-18, 0.0, 3e-18)]) == [
        ("0.5", "[0.4, 0.6]"),
        ("3.000e−18", "[0, 3.000e−18]"),
    ]
    column = [(-3.469e-18, -1.0, 1.5), 2.0, None, "text", True, 3]
    assert formatting.column(column) == [
        ("0.0", "[−1.0, 1.5]"),
        ("2.0", ""),
        ("", ""),
        ("text", ""),
        ("yes", ""),
        ("3", ""),
    ]


def test_a_threshold_and_a_setting_are_shown_as_configured_with_a_true_minus_sign():
    texts = [formatting.needed(*pair) for pair in (("<=", 1.75), (">=", 10.0), (">=", 0.98765432))]
    assert texts == ["≤ 1.75", "≥ 10", "≥ 0.98765432"]
    assert [formatting.setting(value) for value in (-1.5, 2.0, 12, 0.05)] == ["−1.5", "2", "12", "0.05"]


@table(("seconds", "text"), [(0.42, "0.4 s"), (48.2, "48 s"), (725, "12 min 5 s"), (7380, "2 h 3 min")])
def test_durations_are_read_at_a_glance(seconds, text):
    assert formatting.duration(seconds) == text


def test_a_plan_tells_minutes_at_a_rate_that_it_names():
    assert formatting.planned(3 * 60 * formatting.NOMINAL) == "3 minutes at 7e+10 per second"
