"""The server under load as a case of the bench: its ratio is that of pictures per second, and every lost request
counts.
"""

import dataclasses

import pytest

from experiments.bench import cases, serve_load
from experiments.bench.config import Config, Setting
from experiments.bench.findings import claims
from gendiff.commands.serve import load
from gendiff.commands.serve.load import Load, LoadFigures
from tests.tables import table

CASE = next(case for case in cases.ALL if case.name == "serve_load")


def measured(monkeypatch, tmp_path, many, one, behind=(1.25, 2.0, 1.5)):
    """What the case finds where the servers answer so. behind: seconds of a request that takes 1 alone."""
    monkeypatch.setattr(load, "absent", lambda: "")
    monkeypatch.setattr(load, "measured", lambda options, progress: LoadFigures({8: many, 1: one}, [1.0] * 3, behind))
    return serve_load.measure(CASE, Setting(Config(), tmp_path))


def loads(*rates, **lost):
    numbers = {"refused": 0, "broken": 0, "seconds": 10.0, "median": 1.0, "p99": 2.0} | lost
    return [Load(answers=10 * rate + numbers["refused"], **numbers) for rate in rates]


def test_the_ratio_is_that_of_pictures_per_second(monkeypatch, tmp_path):
    result = measured(monkeypatch, tmp_path, loads(6, 8, 9), loads(2, 2, 3))
    assert result.ratios[0].value[0] == pytest.approx(3.0) and result.ratios[0].n == 3
    assert [claim.verdict for claim in claims(result, Config().thresholds)] == ["PASS", "PASS"]
    assert len(result.tables[0].rows) == 2 and result.tables[0].rows[0][:2] == ("8", "8.00")


@table("lost", [{"refused": 1}, {"broken": 1}])
def test_a_request_without_its_picture_fails(monkeypatch, tmp_path, lost):
    result = measured(monkeypatch, tmp_path, loads(6, 8, **lost), loads(2, 2))
    assert [claim.verdict for claim in claims(result, Config().thresholds)] == ["FAIL", "PASS"]


def test_a_short_request_that_waits_for_a_long_one_fails(monkeypatch, tmp_path):
    result = measured(monkeypatch, tmp_path, loads(6, 8), loads(2, 2), behind=(1.25, 2.0, 1.75))
    assert [claim.verdict for claim in claims(result, Config().thresholds)] == ["PASS", "FAIL"]


def test_a_server_that_draws_nothing_is_a_claim_that_fails(monkeypatch, tmp_path):
    result = measured(
        monkeypatch, tmp_path, loads(6, 8), [dataclasses.replace(each, answers=0) for each in loads(1, 1)]
    )
    assert [claim.verdict for claim in claims(result, Config().thresholds)] == [
        "FAIL"
    ] and "drawn nothing" in result.failed["serve_load"]


def test_without_wrk_it_is_left_out_and_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(load.shutil, "which", lambda name: None)
    result = serve_load.measure(CASE, Setting(Config(), tmp_path))
    assert "apt-get install wrk" in result.skipped["serve_load"] and CASE.absent() == result.skipped["serve_load"]
