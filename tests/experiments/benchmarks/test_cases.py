"""The registry of cases, and one of them from end to end, tiny, against this very checkout."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.benchmarks import bench, cases, config, inputs, ours_work
from experiments.benchmarks.config import Config, Thresholds
from experiments.benchmarks.workloads import NETWORKS, Workload, from_json
from experiments.diffusion import digits
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from experiments.reporting import results
from experiments.reporting.environment import PROJECT
from gendiff.core.errors import ConfigError

DUELS = [case.measure for case in cases.ALL if isinstance(case.measure, cases.Duelling)]
OLD_FIELDS = (
    "kind network batch steps objective guidance passes scales step_counts size channels embedding tokens heads head_size dtype".split()
)


def shapes(tree):
    return jax.tree.map(lambda leaf: leaf.shape, tree)


def test_names_are_unique_and_all_or_some_can_be_chosen():
    names = [case.name for case in cases.ALL]
    assert len(set(names)) == len(names)
    assert {case.name for case in cases.chosen((), "cpu")} | {case.name for case in cases.chosen((), "gpu")} == set(names)
    assert [case.name for case in cases.chosen(("sweep", "matmul"), "cpu")] == ["sweep", "matmul"]


def test_what_is_not_there_is_refused_with_a_hint(tmp_path):
    for names, device, hint in ((("dit_smaple",), "cpu", "did you mean 'dit_sample'"), (("sweep",), "gpu", "on gpu")):
        with pytest.raises(ConfigError, match=hint):
            cases.chosen(names, device)
    with pytest.raises(ConfigError, match="make bench"):
        config.peer_python(tmp_path)
    with pytest.raises(ConfigError, match="is no checkout of this project"):
        config.other_checkout(str(tmp_path))


def test_every_threshold_of_a_case_exists_and_every_target_has_one():
    named = {each.threshold for each in DUELS}
    assert named - {""} <= {field.name for field in dataclasses.fields(Thresholds)}
    assert {"sampling", "training", "digits", "sweep", "gpu"} <= named
    assert bench.EXPERIMENT.presets["full"].thresholds == Thresholds()


def test_a_workload_survives_json_and_has_the_fields_that_older_checkouts_read():
    for workload in (each for duel in DUELS for each in (duel.workload, duel.small)):
        assert from_json(workload.as_json()) == workload
        assert list(workload.as_json()) == OLD_FIELDS


def test_the_digits_network_is_that_of_the_digits_experiment():
    model, workload = digits.model(digits.Config()), Workload("sample", "digits")
    found = jax.eval_shape(lambda: ours_work.parameters(workload, ours_work.build(workload)))
    assert shapes(found) == shapes(jax.eval_shape(model.init, jax.random.key(0)))
    assert workload.shape == model.shape


@pytest.mark.parametrize("network", ["tiny_unet", "tiny_dit"])
def test_weights_without_a_peer_are_random_everywhere_and_read_back(tmp_path, network):
    workload = Workload("train", network)
    ours_work.write_weights(workload, tmp_path / "weights")
    params = ours_work.parameters(workload, ours_work.build(workload), str(tmp_path / "weights"))
    assert min(float(np.abs(leaf).mean()) for leaf in jax.tree.leaves(params)) > 1e-3


@pytest.mark.parametrize("embedding", [16, 0])
def test_a_block_reads_the_weights_of_a_peer(tmp_path, embedding):
    workload = Workload("block", size=4, channels=32, embedding=embedding)
    ours_work.write_weights(workload, tmp_path / "weights")
    arrays = {name: jax.numpy.asarray(array) for name, array in inputs.draw(workload).items()}
    output = ours_work.block(workload, arrays, str(tmp_path / "weights"))()
    assert output.shape == arrays["x"].shape and np.abs(output - arrays["x"]).max() > 0.1


def test_flops_are_those_of_the_formula_and_of_training_about_three_forward_passes():
    square = jax.ShapeDtypeStruct((32, 32), np.float32)
    assert Workload("matmul", size=32).flops == jax.jit(lambda x: x @ x).lower(square).cost_analysis()["flops"]
    workload = Workload("train", "tiny_dit", batch=4)
    network = ours_work.build(workload)
    params = jax.eval_shape(lambda: ours_work.parameters(workload, network))
    forward = ours_work.operations_counted(dataclasses.replace(workload, kind="sample"), network, params)
    assert 2.0 < ours_work.operations_counted(workload, network, params) / forward < 4.0


def test_inputs_are_the_same_every_time_and_have_labels_where_there_are_classes():
    workload = Workload("train", "tiny_digits", batch=3)
    first, second = inputs.draw(workload), inputs.draw(workload)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["label"].shape == (3,) and first["label"].max() < NETWORKS["tiny_digits"].num_classes
    assert "label" not in inputs.draw(Workload("sample", "tiny_unet"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["convolution_64", "dit_train"])
def test_a_case_runs_against_another_checkout_and_leaves_results(tmp_path, capsys, case):
    chosen = Config(cases=(case,), pairs=2, call_seconds=0.001, tiny=True, against=str(PROJECT))
    outcome = bench.measure(chosen, RunFolder(tmp_path), Progress(), smoke=True)
    assert outcome.verdict == "INCONCLUSIVE" and results.read(tmp_path) == outcome
    (claim,) = (claim for claim in outcome.claims if claim.id == f"{case}_agrees_with_before")
    assert claim.value == 0.0
    tables = {table.title.split(":")[0]: table for table in outcome.tables}
    assert tables.keys() >= {"Both sides", "Rates"} and {row[0] for row in tables["Both sides"].rows} == {"ours", "before"}
    assert tables["Other ratios"].rows[0][1][0] > 0
    assert f"{case}: time of the other checkout over ours" in capsys.readouterr().out
