"""The tests of peers need several GB and are run by hand: when that was is known, and said where it is long ago."""

import json
import warnings
from pathlib import Path

import pytest

from experiments.documentation import supported_models
from tests.peers import record

ROOT = Path(__file__).resolve().parents[1]
LAST = json.loads(record.RECORD.read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("default")
def test_the_last_run_of_the_peers_tests_passed_and_a_warning_says_when_it_is_old():
    assert (
        LAST["failed"] == 0 < LAST["passed"]
        and {"torch", "diffusers", "transformers", "peft"} <= LAST["versions"].keys()
    )
    if (count := record.commits_since(LAST, ROOT)) is not None and count > record.MOST_COMMITS:
        warnings.warn(
            f"{count} commits to {', '.join(record.CODE)} since the last run of the peers' tests: run .ci/peers",
            stacklevel=1,
        )


def test_the_tests_of_supported_models_passed_not_long_ago():
    last = json.loads(supported_models.RECORD.read_text(encoding="utf-8"))
    assert last["failed"] == 0 < last["passed"]
    count = record.commits_since(last, ROOT)
    assert count is None or count <= record.MOST_COMMITS, f"{count} commits since: run make test-supported"


def test_commits_since_a_record_are_those_to_the_code_that_peers_check():
    assert record.commits_since(LAST | {"commit": "HEAD"}, ROOT) in (0, None)  # None outside of a clone
    assert record.commits_since(LAST | {"commit": "0" * 40}, ROOT) is None


def test_a_record_tells_what_passed_failed_and_was_skipped_from_the_report_of_a_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(record, "commit", lambda: "abc")
    cases = (
        '<testcase classname="tests.peers.test_a" name="test_b[flux]"/>'
        '<testcase classname="tests.peers.test_a" name="test_c"><failure/></testcase>'
    )
    suite = 'testsuite tests="9" failures="1" errors="1" skipped="2" time="12.4"'
    report = f"<testsuites><{suite}>{cases}</testsuite></testsuites>"
    made = record.record_of(report)
    assert (made["passed"], made["failed"], made["skipped"], made["seconds"], made["commit"]) == (5, 2, 2, 12, "abc")
    assert made["tests"] == ["tests/peers/test_a.py::test_b[flux]"]
    assert made["versions"]["jax"] and made["date"].count("-") == 2
