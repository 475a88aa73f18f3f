"""The registry of cases, and one of them from end to end, tiny, against this very checkout."""

import contextlib
import dataclasses
import json
import pkgutil
import types

import jax
import numpy as np
import pytest

from experiments.bench import (
    bench,
    bench_language,
    cases,
    config,
    device_rates,
    image_networks,
    lazily,
    single_calls,
    weights,
    workloads,
)
from experiments.bench.findings import Findings
from experiments.bench.workloads import NETWORKS, Case, Workload
from experiments.diffusion import digits
from gendiff.core.errors import ConfigError
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import processor, results
from gendiff.runs.reporting.environment import PROJECT
from gendiff.runs.run_folder import RunFolder
from tests.tables import table

EVERY = (*cases.ALL, *bench_language.cases())
OLD_FIELDS = (
    "kind network batch steps objective guidance passes scales step_counts size channels embedding tokens "
    "heads head_size dtype"
).split()


def test_modules_that_are_imported_late_exist():
    places = [name for name in lazily.PLACES.values() if name.startswith(("gendiff", "experiments"))]
    assert len(places) > 40 and all(isinstance(pkgutil.resolve_name(name), types.ModuleType) for name in places)


def test_names_are_unique_all_or_some_can_be_chosen_and_what_is_not_there_is_refused_with_a_hint(tmp_path):
    names = [case.name for case in EVERY]
    assert len(set(names)) == len(names)
    devices = "cpu", "gpu", "accelerator"
    assert {case.name for device in devices for case in cases.chosen(EVERY, (), device)} == set(names)
    assert [case.name for case in cases.chosen(cases.ALL, ("sweep", "matmul"), "cpu")] == ["sweep", "matmul"]
    for call, arguments, hint in (
        (cases.chosen, (cases.ALL, ("dit_smaple",), "cpu"), "did you mean 'dit_sample'"),
        (cases.chosen, (cases.ALL, ("sweep",), "gpu"), "on gpu"),
        (config.peer_python, (tmp_path,), "make bench"),
        (config.other_checkout, (str(tmp_path),), "is no checkout of this project"),
    ):
        with pytest.raises(ConfigError, match=hint):
            call(*arguments)


@table(("vendor", "needed"), [("AMD", (1.5, 1.05, 1.5)), ("Intel", (1.2, 1.0, 1.0)), ("", (1.25, 1.1, 1.1))])
def test_targets_are_those_of_the_maker_of_the_processor(monkeypatch, vendor, needed):
    monkeypatch.setattr(processor, "vendor", lambda: vendor)
    selected = cases.chosen(cases.ALL, ("unet32_sample", "unet32_train", "dit_train"), "cpu")
    assert tuple(getattr(config.Thresholds(), case.threshold) for case in selected) == needed


@table(
    ("experiment", "every_case", "further"),
    [
        (bench.EXPERIMENT, cases.ALL, {"near", "lost", "overtaking", "agreement_pictures"}),
        (
            bench_language.EXPERIMENT,
            bench_language.cases(),
            {"llama_prefill", "llama_decode", "llama_decode_8", "llama_lookup"},
        ),
    ],
)
def test_every_threshold_of_a_case_exists_and_every_target_has_one(experiment, every_case, further):
    limits = experiment.presets["full"].thresholds
    named = {each for case in every_case for each in (case.threshold, case.share, *case.by_vendor.values())} - {
        ""
    } | further
    of_all = {
        "memory",
        "failed",
        "agreement",
        "agreement_rounding",
        "agreement_bfloat16",
        "agreement_logits_bfloat16",
        "cold_start",
    }
    assert named - of_all == {field.name for field in dataclasses.fields(limits)} - of_all and limits == type(limits)()


def test_a_workload_survives_json_has_the_fields_that_older_checkouts_read_and_a_small_form():
    for case in EVERY:
        small = case.workload.small
        for workload in (case.workload, small):
            fields = json.loads(json.dumps(dataclasses.asdict(workload)))
            assert workloads.from_json(fields) == workload and list(fields) == OLD_FIELDS
        assert (small.network in NETWORKS or small.network in device_rates.PARTS) == bool(case.workload.network)
        assert (
            small.batch <= 2
            and small.calls <= 40
            and (small.network or small.kind == "serve" or single_calls.flops(small) < 1e7)
        )


def test_the_digits_network_is_that_of_the_digits_experiment():
    model, workload = digits.model(digits.Config()), Workload("sample", "digits")
    both = weights.shapes(workload), jax.eval_shape(model.init, jax.random.key(0))
    shapes = [jax.tree.map(lambda leaf: leaf.shape, params) for params in both]
    assert shapes[0] == shapes[1] and workload.shape == model.shape


@pytest.mark.parametrize("network", ["tiny_unet", "tiny_dit"])
def test_weights_without_a_peer_are_random_everywhere_and_read_back(tmp_path, network):
    workload = Workload("train", network)
    params = weights.read(workload, weights.folder(workload, tmp_path))
    assert min(float(np.abs(leaf).mean()) for leaf in jax.tree.leaves(params)) > 1e-3


def test_flops_are_those_of_the_formula_and_of_training_about_three_forward_passes():
    square = jax.ShapeDtypeStruct((32, 32), np.float32)
    assert (
        single_calls.flops(Workload("matmul", size=32))
        == jax.jit(lambda x: x @ x).lower(square).cost_analysis()["flops"]
    )
    train, sample = (Workload(kind, "tiny_dit", batch=4) for kind in ("train", "sample"))
    assert 2.0 < image_networks.flops(train) / image_networks.flops(sample) < 4.0


def test_inputs_are_the_same_every_time_and_have_labels_where_there_are_classes():
    first, second = (image_networks.inputs(Workload("train", "tiny_digits", batch=3)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["label"].shape == (3,) and first["label"].max() < NETWORKS["tiny_digits"].num_classes
    assert "label" not in image_networks.inputs(Workload("sample", "tiny_unet"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["convolution_64", "dit_train", "lm_decode_8"])
def test_a_case_runs_against_another_checkout_and_leaves_results(tmp_path, capsys, case):
    experiment = bench_language.EXPERIMENT if case.startswith("lm") else bench.EXPERIMENT
    chosen = experiment.config(cases=(case,), pairs=2, call_seconds=0.001, tiny=True, against=str(PROJECT))
    outcome = bench.measure(experiment, chosen, RunFolder(tmp_path), Progress(), smoke=True)
    assert outcome.verdict == "INCONCLUSIVE" and results.read(tmp_path) == outcome
    (claim,) = (claim for claim in outcome.claims if claim.id == f"{case}_agrees_with_before")
    assert claim.value == 0.0
    tables = {table.title.split(":")[0]: table for table in outcome.tables}
    assert tables.keys() >= {"Both sides", "Rates"} and {row[0] for row in tables["Both sides"].rows} == {
        "ours",
        "before",
    }
    assert tables["Other ratios"].rows[0][1][0] > 0
    assert f"{case}: time of the other checkout over ours" in capsys.readouterr().out


def test_a_case_that_breaks_is_a_claim_that_fails_and_the_others_go_on(tmp_path, monkeypatch):
    def broken(case, setting):
        raise FileNotFoundError("no such folder")

    all_cases = tuple(
        Case(name, "", Workload("matmul"), measure=measure)
        for name, measure in (("a", broken), ("b", lambda *_: Findings()))
    )
    monkeypatch.setattr(
        config.Setting, "start", lambda *_: contextlib.nullcontext(types.SimpleNamespace(ask=lambda op: {}))
    )
    outcome = bench.evaluate(lambda: all_cases, config.Config(), RunFolder(tmp_path), Progress(quiet=True))
    assert [(claim.id, claim.verdict) for claim in outcome.claims] == [
        ("a_ran", "FAIL")
    ] and "no such folder" in outcome.claims[0].statement


@pytest.mark.slow
@pytest.mark.parametrize("case", [case.name for case in cases.ALL if case.device == "gpu"])
def test_a_case_for_a_gpu_runs_tiny_where_there_is_none(tmp_path, monkeypatch, case):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    chosen = config.Config(cases=(case,), pairs=2, call_seconds=0.001, tiny=True, device="gpu")
    outcome = bench.measure(bench.EXPERIMENT, chosen, RunFolder(tmp_path), Progress(), smoke=True)
    rates = next(table for table in outcome.tables if table.title.startswith("Rates"))
    assert [row[0] for row in rates.rows] == [case] and rates.rows[0][2] > 0
    assert not [claim for claim in outcome.claims if claim.id.endswith("_ran")]
