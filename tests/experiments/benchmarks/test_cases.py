"""The registry of cases, and one of them from end to end, ours alone and tiny."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.benchmarks import bench, cases, command, inputs, networks, ours_work, setting
from experiments.benchmarks.setting import Config, Thresholds
from experiments.benchmarks.workloads import NETWORKS, Workload, from_json
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from experiments.reporting import results
from gendiff.core.errors import ConfigError


def test_names_are_unique_and_all_or_some_can_be_chosen():
    names = [case.name for case in cases.ALL]
    assert len(set(names)) == len(names)
    assert {case.name for case in cases.chosen((), "cpu")} | {case.name for case in cases.chosen((), "gpu")} == set(names)
    assert [case.name for case in cases.chosen(("sweep", "matmul"), "cpu")] == ["sweep", "matmul"]


def test_an_unknown_case_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'dit_sample'"):
        cases.chosen(("dit_smaple",), "cpu")
    with pytest.raises(ConfigError, match="on gpu"):
        cases.chosen(("sweep",), "gpu")


def test_every_threshold_of_a_case_exists_and_every_target_has_one():
    known = {field.name for field in dataclasses.fields(Thresholds)}
    asked = {case.measure.threshold for case in cases.ALL if isinstance(case.measure, cases.Duelling)}
    assert asked - {""} <= known
    assert {"sampling", "training", "digits", "sweep", "gpu"} <= asked


def test_a_workload_survives_json():
    for case in cases.ALL:
        if isinstance(case.measure, cases.Duelling):
            for workload in (case.measure.workload, case.measure.tiny):
                assert from_json(workload.as_json()) == workload


def test_the_bench_is_an_experiment_with_the_thresholds_of_its_config():
    assert command.EXPERIMENT.presets["full"].thresholds == Thresholds()


def test_peers_without_their_environment_name_the_command(tmp_path):
    with pytest.raises(ConfigError, match="make bench"):
        setting.peer_python(tmp_path)


def test_the_digits_network_is_that_of_the_digits_experiment():
    from experiments.diffusion import digits

    model = digits.model(digits.Config())
    wanted = jax.eval_shape(model.init, jax.random.key(0))
    workload = Workload("sample", "digits")
    found = jax.eval_shape(lambda: networks.parameters(workload, networks.build(workload)))
    assert jax.tree.map(lambda leaf: leaf.shape, found) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    assert workload.shape == model.shape


def test_the_flops_of_a_matrix_product_are_those_of_its_formula():
    square = jax.ShapeDtypeStruct((32, 32), np.float32)
    counted = jax.jit(lambda x: x @ x).lower(square).cost_analysis()
    assert Workload("matmul", size=32).flops == counted["flops"]


def test_flops_of_training_are_about_three_forward_passes():
    workload = Workload("train", "tiny_dit", batch=4)
    network = networks.build(workload)
    params = jax.eval_shape(lambda: networks.parameters(workload, network))
    forward = ours_work.operations_counted(dataclasses.replace(workload, kind="sample"), network, params)
    assert 2.0 < ours_work.operations_counted(workload, network, params) / forward < 4.0


def test_inputs_are_the_same_every_time_and_have_labels_where_there_are_classes():
    workload = Workload("train", "tiny_digits", batch=3)
    first, second = inputs.draw(workload), inputs.draw(workload)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["label"].shape == (3,) and first["label"].max() < NETWORKS["tiny_digits"].num_classes
    assert "label" not in inputs.draw(Workload("sample", "tiny_unet"))


def test_a_case_runs_alone_and_leaves_results(tmp_path, capsys):
    config = Config(cases=("convolution_64",), pairs=2, call_seconds=0.001, tiny=True)
    outcome = bench.measure(config, RunFolder(tmp_path), Progress(), smoke=True)
    assert outcome.verdict == "INCONCLUSIVE" and outcome.claims == ()
    assert results.read(tmp_path) == outcome
    assert {table.title.split(":")[0] for table in outcome.tables} >= {"Both sides", "Rates"}
    assert "(convolution_64)" in capsys.readouterr().out
