"""`bench --check`: what counts as a regression, which committed run it is held against, and how the command ends."""

import dataclasses
import math
import sys

import pytest

from experiments.bench import bench, findings, regressions
from experiments.bench.config import Config, Thresholds
from experiments.bench.findings import Findings, Ratio
from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs.reporting import json_files, results, verdicts
from tests.experiments.studies.bench.test_findings import DUEL
from tests.tables import table

KNOWN = {"bench": bench.EXPERIMENT}
NAN = (math.nan, math.nan, math.nan)
AMD = "AMD EPYC, family 26, model 2"


def run(cpu="a CPU", tables=(), cases=(), failed=(), **ratios):
    """Results of a bench: a number for each claim."""
    claims = [
        verdicts.claim(name, f"{name}: times faster", number[0], number[1:], ">=", 1.0, n=7, seed=None)
        for name, number in ratios.items()
    ]
    claims += [
        verdicts.claim(f"{name}_ran", f"{name}: could not be measured: it ended", 1.0, (1, 1), "<=", 0, n=1, seed=None)
        for name in failed
    ]
    environment = {"commit": "c" * 40, "dirty": False, "versions": {}, "machine": {"cpu": cpu}}
    config = Config(cases=cases, peers=True)
    return results.conclude(
        "bench", "?", config, claims, seeds=(), seconds={}, environment=environment, named=False, tables=tables
    )


@table(
    ("before", "after", "change", "words", "regressed"),
    [
        ((2.0, 1.9, 2.1), (1.7, 1.6, 1.75), "−15.0%", "regressed", True),
        ((2.0, 1.5, 2.5), (1.7, 1.6, 1.75), "−15.0%", "regressed", True),
        ((2.0, 1.9, 2.1), (1.7, 1.5, 1.85), "−15.0%", "", False),
        ((2.0, 1.9, 2.1), (1.8, 1.8, 1.8), "−10.0%", "", False),
        ((2.0, 1.9, 2.1), (2.5, 2.4, 2.6), "+25.0%", "", False),
        ((2.0, 1.9, 2.1), NAN, "", "outputs disagree", True),
        (None, (0.1, 0.1, 0.1), "", "new", False),
        (NAN, (0.1, 0.1, 0.1), "", "new", False),
        ((2.0, 1.9, 2.1), None, "", "gone", False),
    ],
)
def test_a_ratio_regresses_where_it_falls_by_more_than_its_interval_explains(before, after, change, words, regressed):
    pair = [run(**({} if number is None else {"a": number})) for number in (before, after)]
    (comparison,) = regressions.compare(*pair)
    assert (comparison.row[3:], comparison.regressed) == ((change, words), regressed)


def test_a_case_that_did_not_run_fails_and_one_that_was_not_chosen_is_not_missed():
    before = run(a=(2.0, 2.0, 2.0), b=(2.0, 2.0, 2.0), c=(2.0, 2.0, 2.0))
    rows = regressions.compare(before, run(cases=("a", "b"), failed=("a",)))
    assert [(each.name, each.row[4], each.regressed) for each in rows] == [
        ("b", "gone", False),
        ("a_ran", "a: could not be measured: it ended", True),
    ]


def test_ratios_without_a_claim_are_compared_and_those_with_one_once():
    unclaimed, claimed = (Ratio("x", words, (2.0, 1.9, 2.1), 3) for words in ("x: y over z", "race: times faster"))
    tables = findings.tables([Findings((DUEL,), (unclaimed, claimed))], Thresholds())
    rows = regressions.compare(run(), run(tables=tables, race=(2.0, 1.9, 2.1)))
    assert {each.name: each.measured for each in rows} == {
        "race": (2.0, 1.9, 2.1),
        "dit_sample": (1.5, 1.5, 1.5),
        "x: y over z": (2.0, 1.9, 2.1),
    }
    (void,) = regressions.compare(run(dit_sample=(1.5, 1.5, 1.5)), run(tables=tables[:1], dit_sample=NAN))
    assert math.isnan(void.measured[0])  # the table has the ratio all the same


def test_a_run_is_held_against_the_committed_one_of_its_processor(tmp_path):
    for folder, cpu in (("bench", "a CPU"), ("bench/machines/other", "another")):
        (tmp_path / folder).mkdir(parents=True)
        results.write(run(cpu), tmp_path / folder)
    config = Config(peers=True)
    for cpu in ("a CPU", "another"):
        assert regressions.committed("bench", cpu, config, tmp_path).machine == {"cpu": cpu}
    for cpu, changes, words in (
        ("a third", {}, "on this processor is committed: a third. There are: a CPU; another. `make bench` leaves one"),
        ("a CPU", {"tiny": True}, "tiny = False, and this is one of True"),
        ("a CPU", {"threads": 4}, "threads = 2, and this is one of 4"),
        ("a CPU", {"peers": False}, "peers = True, and this is one of False"),
    ):
        with pytest.raises(ConfigError, match=words):
            regressions.committed("bench", cpu, dataclasses.replace(config, **changes), tmp_path)


def scaled(outcome, config, share):
    """Results as committed, with every claimed ratio of the chosen cases at this share."""
    claims = [
        verdicts.claim(
            each.id, each.statement, share * each.value, [share * end for end in each.interval], ">=", 1, n=9, seed=None
        )
        for each in outcome.claims
        if each.relation == ">=" and (not config.cases or each.statement.partition(":")[0] in config.cases)
    ]
    encoded = json_files.encode(config)
    return dataclasses.replace(outcome, claims=tuple(claims), verdict="NONE", figures=(), tables=(), config=encoded)


@table(
    ("cases", "share", "code", "regressed"),
    [
        ("", 0.95, 0, ""),
        ("dit_sample sweep", 1.0, 0, ""),
        ("dit_sample sweep", 0.8, 1, "dit_sample, dit_sample_memory, dit_sample_rate, sweep"),
    ],
)
def test_the_command_exits_1_and_names_what_regressed(tmp_path, monkeypatch, capsys, cases, share, code, regressed):
    committed, run, chosen = regressions.committed("bench", AMD, Config(peers=True)), tmp_path / "run", []

    def measure(experiment, config, folder, progress, smoke):
        chosen.append(config)
        results.write(scaled(committed, config, share), folder.path)
        return results.read(folder.path)

    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "cpu", lambda: AMD)
    monkeypatch.setenv("GENDIFF_PEERS_PYTHON", sys.executable)
    assert command_line.main(["bench", *cases.split(), "--check", "--out", str(run)], KNOWN) == code
    assert [(each.cases, each.peers) for each in chosen] == [(tuple(cases.split()), True)]
    first = capsys.readouterr()
    assert first.err == (f"exit 1 by --check: {regressed}\n" if regressed else "")
    listed = first.out[first.out.index(f"Ratios beside those of commit {committed.commit[:8]} on {AMD}") :]
    assert "dit_sample_rate" in listed and ("unet32" in listed) == (not cases)
    assert command_line.main(["bench", "--check", "--measured", str(run)], KNOWN) == code
    assert capsys.readouterr() == (listed, first.err)


@table(
    ("words", "message"),
    [
        ("--check", "no run of bench on this processor is committed: a CPU"),
        ("--check --smoke", "tiny = False"),
        ("--check --device gpu", "device = 'cpu'"),
        ("--check --against .", "against = ''"),
        ("--measured x", "needs --check"),
        ("sweep --check --measured x", "no other option"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_it_is_measured(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(bench, "measure", lambda *_, **__: pytest.fail("it measures"))
    monkeypatch.setattr(bench, "cpu", lambda: "a CPU")
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["bench", *words.split()], KNOWN) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())
