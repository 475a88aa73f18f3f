"""What becomes a claim, and what makes it void."""

import dataclasses
import math

import pytest

from experiments.benchmarks import findings, inputs, tables
from experiments.benchmarks.config import Thresholds
from experiments.benchmarks.duel import MATMUL, Duel
from experiments.benchmarks.findings import Findings
from experiments.benchmarks.workloads import Workload

DUEL = Duel(
    "dit_sample",
    Workload("sample", "tiny_dit"),
    seconds={"ours": (1.0,) * 9, "eager": (1.6,) * 9, "compiled": (1.5,) * 9, "matmul": (0.1,) * 9},
    first={"ours": 3.0, "eager": 1.6, "compiled": 40.0},
    tried={"eager": 1.6, "compiled": 1.5},
    difference=1e-6,
    peak_mib={"ours": 400.0, "peer": 500.0},
    flops=2 * MATMUL**3 * 8,
)
FOUND = Findings(duels=(DUEL,), threshold="sampling", share="matmul_share", memory=True)


def claimed(found: Findings) -> dict[str, tuple[float, str]]:
    return {claim.id: (claim.value, claim.verdict) for claim in findings.claims(found, Thresholds())}


def test_the_fastest_mode_counts_and_every_target_is_a_claim():
    assert DUEL.mode == "compiled"
    assert claimed(FOUND) == {
        "dit_sample_agrees": (1e-6, "PASS"),
        "dit_sample": (1.5, "PASS"),
        "dit_sample_memory": (1.25, "PASS"),
        "dit_sample_rate": (pytest.approx(0.8), "PASS"),
    }


@pytest.mark.parametrize("difference", [2e-4, math.inf])
def test_a_case_whose_outputs_disagree_is_void(difference: float):
    wrong = dataclasses.replace(FOUND, duels=(dataclasses.replace(DUEL, difference=difference),))
    found = claimed(wrong)
    assert found["dit_sample_agrees"][1] == found["dit_sample"][1] == found["dit_sample_memory"][1] == "FAIL"
    assert math.isnan(found["dit_sample"][0])


def test_ours_alone_claims_nothing_of_the_peer():
    alone = dataclasses.replace(DUEL, seconds={"ours": (1.0,) * 9, "matmul": (0.1,) * 9}, peak_mib={"ours": 400.0}, difference=math.nan)
    assert list(claimed(dataclasses.replace(FOUND, duels=(alone,)))) == ["dit_sample_rate"]


def test_a_case_that_could_not_run_fails():
    assert claimed(Findings(failed={"sweep": "ours ended"}))["sweep_ran"][1] == "FAIL"


@pytest.mark.parametrize(("apart", "ratio", "verdict"), [(1e-6, 1.1, "PASS"), (2e-4, math.nan, "FAIL")])
def test_another_checkout_is_compared_where_outputs_agree(apart: float, ratio: float, verdict: str):
    seconds = {"ours": (1.0,) * 9, "before": (1.1,) * 9}
    found = Findings(duels=(dataclasses.replace(DUEL, seconds=seconds, apart=apart, difference=math.nan),), threshold="sampling")
    assert claimed(found) == {"dit_sample_agrees_with_before": (apart, verdict)}
    (gain,) = findings.ratios(found, Thresholds())
    assert gain.value.value == pytest.approx(ratio, nan_ok=True) and gain.n == 9


def test_tables_and_lines_show_the_duel():
    made = {table.title.split(":")[0].split(",")[0]: table for table in tables.tables([FOUND], Thresholds())}
    assert made["Times of the work done once"].rows[0][3] == "compiled"
    (line,) = tables.lines(FOUND, Thresholds())
    assert "torch compiled 1.5 s: 1.5 [1.5, 1.5] times" in line


def test_the_difference_is_relative_to_large_outputs_only(tmp_path):
    import numpy as np

    def write(name: str, value: np.ndarray):
        np.savez(tmp_path / name, output=value)
        return tmp_path / name

    small = np.full((2, 2), 0.1)
    assert inputs.difference(write("a.npz", small + 1e-3), write("b.npz", small)) == pytest.approx(1e-3)
    assert inputs.difference(write("a.npz", 1000 * small + 1e-3), write("b.npz", 1000 * small)) == pytest.approx(1e-5)
    assert inputs.difference(write("a.npz", small), write("b.npz", small[:1])) == math.inf
    assert inputs.difference(write("a.npz", small * math.nan), write("b.npz", small)) == math.inf


def test_a_known_device_has_its_peak_and_an_unknown_one_none():
    assert findings.peak_of("NVIDIA H100 80GB HBM3") == 989e12
    assert findings.peak_of("NVIDIA H100 PCIe") == 756e12
    assert findings.peak_of("some other chip") is None
