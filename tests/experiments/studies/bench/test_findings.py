"""The statistics of interleaved timing, on numbers whose answers are known; what becomes a claim, and what makes it
void.
"""

import dataclasses
import math

import numpy as np
import pytest

from experiments.bench import duel, findings
from experiments.bench.config import Thresholds
from experiments.bench.duel import MATMUL, Duel
from experiments.bench.findings import Findings
from experiments.bench.workloads import Case, Workload
from tests.tables import table

SECONDS = {"ours": (1.0,) * 9, "eager": (1.6,) * 9, "compiled": (1.5,) * 9, "matmul": (0.1,) * 9}
DUEL = Duel(
    Case("dit_sample", "", Workload("sample", "tiny_dit"), "sampling", "matmul_share", memory=True),
    seconds=SECONDS,
    first={"ours": 3.0, "eager": 1.6, "compiled": 40.0},
    tried={"eager": 1.6, "compiled": 1.5},
    difference=1e-6,
    peak_mib={"ours": 400.0, "eager": 500.0, "compiled": 900.0},
    flops=2 * MATMUL**3 * 8,
)
ALONE = {"seconds": {name: SECONDS[name] for name in ("ours", "matmul")}, "difference": math.nan}
BEFORE = {"seconds": {"ours": (1.0,) * 9, "before": (1.1,) * 9}, "difference": math.nan}
AGREES, RATIO, MEMORY, RATE = "dit_sample_agrees", "dit_sample", "dit_sample_memory", "dit_sample_rate"


def test_a_constant_ratio_has_an_interval_of_no_width_and_the_same_pairs_give_the_same_interval():
    seconds = np.linspace(1.0, 2.0, 9)  # the machine drifts, and both sides with it
    np.testing.assert_allclose(duel.ratio(1.5 * seconds, seconds), 1.5)
    ours, theirs = np.random.default_rng(1).uniform(1, 2, (2, 9))
    assert duel.ratio(theirs, ours) == duel.ratio(theirs, ours)


def test_the_interval_of_a_noisy_ratio_covers_it_in_most_repeats():
    ours, theirs = np.exp(np.random.default_rng(0).normal(0.0, 0.1, (2, 20, 9)))
    ratios = [duel.ratio(1.3 * slower, faster) for slower, faster in zip(theirs, ours, strict=True)]
    assert sum(low <= 1.3 <= high for _, low, high in ratios) >= 17


def test_contenders_are_the_fastest_and_those_within_the_margin():
    seconds = {"eager": 1.05, "channels_last": 1.3, "compiled": 1.0}
    for margin, most, names in (
        (0.1, 3, "compiled eager"),
        (0.1, 1, "compiled"),
        (0.5, 3, "compiled eager channels_last"),
    ):
        assert duel.contenders(seconds, margin, most) == names.split()


@table(
    ("changes", "claims"),
    [
        ({}, {AGREES: (1e-6, "PASS"), RATIO: (1.5, "PASS"), MEMORY: (1.25, "PASS"), RATE: (0.8, "PASS")}),
        *(
            (
                {"difference": far},
                {AGREES: (far, "FAIL"), RATIO: (math.nan, "FAIL"), MEMORY: (math.nan, "FAIL"), RATE: (0.8, "PASS")},
            )
            for far in (2e-4, math.inf)
        ),
        (ALONE, {RATE: (0.8, "PASS")}),
        (
            {"difference": 2e-4, "rounding": 1.5},
            {AGREES: (1.5, "PASS"), RATIO: (1.5, "PASS"), MEMORY: (1.25, "PASS"), RATE: (0.8, "PASS")},
        ),
        (
            {"rounding": 5.0},
            {AGREES: (5.0, "FAIL"), RATIO: (math.nan, "FAIL"), MEMORY: (math.nan, "FAIL"), RATE: (0.8, "PASS")},
        ),
        (BEFORE | {"apart": 1e-6}, {f"{AGREES}_with_before": (1e-6, "PASS")}),
        (BEFORE | {"apart": 2e-4}, {f"{AGREES}_with_before": (2e-4, "FAIL")}),
    ],
)
def test_every_target_is_a_claim_and_void_where_outputs_disagree(changes, claims):
    summary = Findings((dataclasses.replace(DUEL, **changes),))
    verdicts_by_id = {claim.id: (claim.value, claim.verdict) for claim in findings.claims(summary, Thresholds())}
    assert list(verdicts_by_id) == list(claims)
    assert all(
        verdicts_by_id[id] == (pytest.approx(value, nan_ok=True), verdict) for id, (value, verdict) in claims.items()
    )
    if "apart" in changes:
        (gain,) = findings.ratios(summary, Thresholds())
        assert gain.value[0] == pytest.approx(1.1 if changes["apart"] < 1e-4 else math.nan, nan_ok=True) and gain.n == 9


def test_a_case_that_could_not_run_fails_and_tables_and_lines_show_all():
    summary = Findings((DUEL,), failed={"sweep": "ours ended"})
    *_, claim = findings.claims(summary, Thresholds())
    assert (claim.id, claim.verdict) == ("sweep_ran", "FAIL")
    verdicts_by_id = {
        table.title.split(":")[0].split(",")[0]: table for table in findings.tables([summary], Thresholds())
    }
    assert verdicts_by_id["Times of the work done once"].rows[0][3] == "compiled"
    line, failure = findings.lines(summary, Thresholds())
    assert "torch compiled 1.5 s: 1.5 [1.5, 1.5] times" in line and "sweep failed: ours ended" in failure


def test_a_training_step_of_a_language_model_is_told_in_tokens_per_second_too():
    duel_of_tokens = dataclasses.replace(DUEL, tokens=4096)
    (line,) = findings.lines(Findings((duel_of_tokens,)), Thresholds())
    assert "; 4,096 tokens per second; " in line
    (table,) = (
        table
        for table in findings.tables([Findings((duel_of_tokens, DUEL))], Thresholds())
        if table.title.startswith("Tokens")
    )
    ((name, ours, torch, share),) = table.rows
    assert (name, ours, torch) == ("dit_sample", "4,096 (4,096–4,096)", "2,731 (2,731–2,731)") and share[
        0
    ] == pytest.approx(0.8)


def test_the_difference_is_relative_to_large_outputs_only(tmp_path):
    small = np.full((2, 2), 0.1)
    for first, second, expected in (
        (small + 1e-3, small, 1e-3),
        (1000 * small + 1e-3, 1000 * small, 1e-5),
        (small, small[:1], math.inf),
        (small * math.nan, small, math.inf),
    ):
        np.savez(tmp_path / "a.npz", output=first)
        np.savez(tmp_path / "b.npz", output=second)
        assert duel.difference(tmp_path / "a.npz", tmp_path / "b.npz") == pytest.approx(expected)
