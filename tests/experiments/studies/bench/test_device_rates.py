"""Rates on an accelerator: operations and bytes against those counted by hand, shares of its rates, and what is left
out.
"""

import contextlib
import time
import types

import jax
import pytest

from experiments.bench import bench, config, device_cases, device_rates, findings
from experiments.bench.config import Config, Setting
from experiments.bench.findings import Findings, Rate
from experiments.bench.side import SideError
from experiments.bench.workloads import Workload
from gendiff.core.errors import ConfigError
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import Accelerator
from tests.tables import table
from tests.variants import some_slow

DIT = Workload("device_evaluation", "tiny_dit", batch=2, dtype="bfloat16")
TEXTS = Workload("device_writing", "tiny_smollm2", batch=3, tokens=5, steps=4, dtype="bfloat16")
BY_NAME = {case.name: case for case in device_cases.CASES}


def test_operations_and_bytes_of_a_dit_are_those_counted_by_hand():
    batch, tokens, width, patch = 2, 16, 32, 2 * 2 * 4
    embedding = 256 * width + width**2
    block = 6 * width**2 + tokens * (4 + 8) * width**2
    last = 2 * width**2 + tokens * width * patch
    products = tokens * patch * width + embedding + 2 * block + last
    attention = 2 * 4 * batch * tokens**2 * width
    program = device_rates.MAKERS[DIT.kind](DIT)
    assert program.flops == 2 * batch * products + attention
    numbers = sum(leaf.size for leaf in jax.tree.leaves(program.arguments[0]))
    images = batch * 8 * 8 * 4
    assert program.moved == 2 * numbers + 4 * (images + 2 * batch) + 4 * images, "weights, x, t, labels; the output"


def test_operations_and_bytes_of_texts_are_those_counted_by_hand():
    width, depth, vocabulary, mlp, shared = 16, 2, 64, 24, 2 * 4
    matrices = depth * (2 * width**2 + 2 * width * shared + 3 * width * mlp)
    read, written, texts = 5 + 4 - 1, 4, 3
    attention = 4 * depth * width * read * (read + 1) / 2
    program = device_rates.MAKERS[TEXTS.kind](TEXTS)
    assert program.flops == texts * (2 * matrices * read + attention + 2 * vocabulary * width * written)
    numbers = matrices + vocabulary * width + width * (2 * depth + 1)
    tokens = sum(5 + number for number in (1, 2, 3))  # that the passes behind the first find in the cache
    assert program.moved == 2 * numbers * written + texts * tokens * 2 * 2 * depth * shared


@pytest.mark.parametrize("name", some_slow(BY_NAME, set(BY_NAME) - {"device_dit", "device_dit_train", "device_decode"}))
def test_a_case_runs_tiny_on_a_cpu_whose_rates_are_measured(name):
    answer = device_rates.measured(BY_NAME[name].workload.small, rounds=2, seconds=1e-4)
    device = Accelerator(**answer.pop("device"))
    assert "measured now" in device.source and device.name == "cpu"
    rate = Rate(name, **answer, device=device)
    assert len(rate.seconds) == 2 and min(rate.seconds) > 0 and rate.compilation > 0 and rate.peak is None
    assert rate.flops > 1e4 and rate.moved > 1e3 and rate.utilisation > 0
    assert (rate.xla_moved is None) == name.startswith("device_decode")
    assert rate.xla_moved is None or rate.xla_moved > rate.moved / 2


def test_a_training_step_is_three_forward_passes_and_its_state_is_read_and_written():
    kinds = "device_training", "device_evaluation"
    step, once = (device_rates.MAKERS[kind](Workload(kind, "tiny_dit", batch=2)) for kind in kinds)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(step.arguments[0].params))
    batch = 2 * 8 * 8 * 4 + 2  # images and labels
    assert step.flops == 3 * once.flops and step.carries
    assert 2 * 3 * 4 * numbers + 4 * batch < step.moved < 2 * 3 * 4 * numbers + 4 * batch + 200, "and a few counters"


def test_shares_are_of_the_rates_of_the_device_and_the_bound_is_the_longer_one():
    device = Accelerator("a toy", flops=100.0, bandwidth=10.0)
    rate = Rate("a", (3.0, 2.0, 4.0), 7.0, flops=150.0, moved=6.0, xla_moved=12.0, peak=None, device=device)
    assert (rate.utilisation, rate.traffic, rate.least, rate.bound) == (0.5, 0.2, 1.5, "arithmetic")
    assert Rate("a", (3.0,), 7.0, flops=150.0, moved=60.0, xla_moved=None, peak=5, device=device).bound == "memory"
    (text,) = findings.lines(Findings(rates=(rate,)), Config().thresholds)
    assert "3 s, at least 1.5 s, bound by arithmetic" in text and "50.0% of the peak of a toy" in text
    (rates,) = findings.tables([Findings(rates=(rate,))], Config().thresholds)
    row = dict(zip(rates.columns, rates.rows[0], strict=True))
    assert row["seconds"] == (3.0, 2.0, 4.0) and row["FLOP/s"] == 50.0 and row["least seconds by the roofline"] == 1.5


def answered(monkeypatch, devices, error):
    """What one case finds where a process says this."""

    def ask(op, **_):
        if op == "about":
            return {"devices": devices}
        raise SideError(error)

    monkeypatch.setattr(Setting, "start", lambda *_: contextlib.nullcontext(types.SimpleNamespace(ask=ask)))
    return lambda until: device_cases.measure(BY_NAME["device_dit"], Setting(Config(), None, until=until))


@table(
    ("devices", "error", "left", "why"),
    [
        (["1 × gpu: a card"], "", -1.0, "10 minutes of --minutes are over"),
        (["1 × gpu: a card"], "RESOURCE_EXHAUSTED: 80 GB", 9.0, "too little memory"),
    ],
)
def test_what_cannot_be_measured_is_left_out_with_the_reason(monkeypatch, devices, error, left, why):
    finding = answered(monkeypatch, devices, error)(time.monotonic() + left)
    assert why in finding.skipped["device_dit"] and not finding.rates


def test_another_error_fails_the_case(monkeypatch):
    with pytest.raises(SideError, match="broken"):
        answered(monkeypatch, ["1 × gpu: a card"], "broken")(time.monotonic() + 9.0)


def test_an_accelerator_has_no_peer_and_a_bench_without_cases_for_it_says_so():
    for chosen, all_cases, words in (
        (Config(device="accelerator", peers=True), bench.all_cases, "leave out --peers"),
        (Config(device="accelerator", against="."), bench.all_cases, "leave out --peers"),
        (config.LanguageConfig(device="accelerator"), tuple, "no case on accelerator"),
    ):
        with pytest.raises(ConfigError, match=words):
            bench.check(all_cases, chosen)


def test_a_machine_without_an_accelerator_is_refused_before_any_case(monkeypatch, tmp_path):
    answered(monkeypatch, ["1 × cpu: cpu"], "")
    with pytest.raises(ConfigError, match="finds no GPU or TPU here"):
        bench.evaluate(bench.all_cases, Config(device="accelerator"), RunFolder(tmp_path), Progress())


@pytest.mark.slow
def test_a_smoke_run_leaves_one_file_with_a_row_of_each_case(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    chosen = Config(device="accelerator", pairs=2, call_seconds=0.001, tiny=True)
    outcome = bench.measure(bench.EXPERIMENT, chosen, RunFolder(tmp_path), Progress(), smoke=True)
    (rates,) = (each for each in outcome.tables if each.title.startswith("On the device"))
    assert [row[0] for row in rates.rows] == list(BY_NAME) and (tmp_path / "results.json").is_file()
