"""The measurement under load: its numbers are those of wrk and of the server, and its table says what they mean."""

import shutil

import pytest

from gendiff.commands.serve import load
from gendiff.commands.serve.load import Load, LoadFigures, LoadOptions
from gendiff.core.errors import ConfigError, GendiffError
from gendiff.runs.progress import Progress
from tests.tables import table

REPORT = """Running 1s test @ http://127.0.0.1:8000/v1/images/generations
Requests/sec:      4.98
{"answers": 30, "refused": 10, "broken": 1, "seconds": 5.0, "median": 0.5, "p99": 2.0}
"""


def test_refused_answers_are_no_pictures():
    result = load.read(REPORT)
    assert result.rate == (30 - 10) / 5.0 and (result.broken, result.median, result.p99) == (1, 0.5, 2.0)
    for report in ("", "Running 1s test", '{"answers": 30}'):
        with pytest.raises(GendiffError, match="wrk has reported nothing that can be read"):
            load.read(report)


def test_metrics_with_labels_are_left_out():
    metrics = (
        'gendiff_steps_total 40.0\n# HELP gendiff_x\ngendiff_request_seconds_count{status="200"} 3.0\npython_info 1.0\n'
    )
    assert load.totals(metrics) == {"gendiff_steps_total": 40.0}


def test_the_ratio_is_the_median_of_the_rounds():
    def loads(rates, **steps):
        return [
            Load(answers=10 * rate, refused=0, broken=0, seconds=10.0, median=1.0, p99=2.0, **steps) for rate in rates
        ]

    both = {8: loads([6, 8, 9], steps=60.0, turns=10.0), 1: loads([2, 2, 3])}
    *_, eight, one, _, ratio, short = load.table(LoadFigures(both, [1.0, 2.0, 1.0], [1.5, 2.5, 1.25]))
    assert eight.startswith("| 8 | 8.00 | 6.00 … 9.00 | 6.00 | 1.00 s | 2.00 s | 0 | 0 |") and one.startswith(
        "| 1 | 2.00 | 2.00 … 3.00 |"
    )
    assert ratio == "8 at a time over one: 3.00 (3.00 … 4.00 over 3 rounds)"
    words = "a request of 8 steps: 1.00 s alone, 1.50 s behind one of 10 pictures and 100 steps"
    assert short == f"{words}, 1.25 times as long"  # each is held against the one just before it


@table(("options", "message"), [({"clients": 0}, "--clients 0 is outside 1"), ({}, "apt-get install wrk")])
def test_a_mistake_is_told_before_a_server_starts(monkeypatch, options, message):
    monkeypatch.setattr(load.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        load.COMMAND.call(LoadOptions(**options), {}, Progress(quiet=True))


@pytest.mark.slow
def test_two_servers_are_measured_in_turn(capsys):
    if shutil.which("wrk") is None:
        pytest.skip("needs wrk")
    load.COMMAND.call(LoadOptions(model="shapes", together=2, clients=4, seconds=3, rounds=1), {}, Progress(quiet=True))
    *_, two, one, _, ratio, short = capsys.readouterr().out.splitlines()
    assert (
        two.startswith("| 2 |") and one.startswith("| 1 |") and two.endswith("| 0 | 0 |") and one.endswith("| 0 | 0 |")
    )
    assert ratio.startswith("2 at a time over one: ") and short.startswith("a request of 8 steps: ")
