"""The plan of the sweep spends its budgets, its exponents are those of a known law, and a row that was killed ends as
one that was not.
"""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.scaling import scaling_train
from experiments.scaling.scaling_train import STUDY, measures, pictures, rows, texts, train
from experiments.scaling.scaling_train.measures import Run
from gendiff.core.errors import ConfigError, DataError
from gendiff.data import text
from gendiff.data.texts.text import Documents
from gendiff.runs import devices, ranges
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from gendiff.runs.sweep import id_of
from gendiff.scaling import accounting
from gendiff.scaling.laws import Chinchilla

FULL = STUDY.presets["full"]
FEW = dataclasses.replace(FULL, pictures=dataclasses.replace(FULL.pictures, widths=(24, 32, 48), depths=(1, 1, 1)))
"""With fewer networks of pictures, for each takes a while to be counted."""
LAW = Chinchilla(floor=1.0, of_parameters=37.0, of_tokens=150.0, alpha=0.3, beta=0.4)
"""Whose best sizes lie within those of the full run."""


def matched(kind=rows.TEXT, config=FEW):
    return [each for each in rows.planned(config) if each.protocol == rows.MATCHED and each.row.kind == kind]


@pytest.mark.parametrize("config", [FEW, pytest.param(FULL, marks=pytest.mark.slow)], ids=["few", "full"])
def test_every_budget_is_spent_but_for_half_a_step_and_has_enough_networks(config):
    for kind, least in ((rows.TEXT, 5), (rows.PICTURES, 3)):
        sizes: dict[float, set[int]] = {}
        for each in matched(kind, config):
            cost = rows.cost_of(each.row)
            assert abs(each.row.marks[-1] * cost.step_flops - each.budgets[0]) <= cost.step_flops / 2
            assert each.row.marks == (each.row.horizon,) and each.row.horizon >= config.least_steps
            sizes.setdefault(each.budgets[0], set()).add(each.size)
        assert set(sizes) == set(rows.sweep(config, kind).budgets) and min(map(len, sizes.values())) >= least


def test_the_sweep_spans_what_the_question_needs():
    parameters = [rows.cost_of(each.row).bare for each in matched()]
    assert max(parameters) / min(parameters) >= 10**1.5
    assert FULL.text.budgets[-1] / FULL.text.budgets[0] >= 10**1.5


def test_under_a_fixed_horizon_a_network_trains_once_and_stops_early_at_its_last_budget():
    fixed = [each for each in rows.planned(FEW) if each.protocol == rows.FIXED]
    assert len({each.size for each in fixed}) == len(fixed) == len(FULL.text.widths)
    for each in fixed:
        assert each.row.horizon == FULL.horizon >= each.row.marks[-1] and list(each.row.marks) == sorted(
            set(each.row.marks)
        )
        assert len(each.row.marks) == len(each.budgets)


def test_rows_are_different_and_the_rule_of_rates_needs_no_training_of_its_own():
    all_rows = rows.rows(FEW)
    assert len({id_of(row) for row in all_rows}) == len(all_rows) == len(set(all_rows))
    of_rule = [each.row for each in rows.planned(FEW) if each.protocol == rows.RATES and each.factor == 1.0]
    assert set(of_rule) <= {each.row for each in matched()}
    assert [rows.flops(row) for row in all_rows] == sorted(map(rows.flops, all_rows), reverse=True)


def test_parameters_and_operations_of_a_language_model_are_those_that_its_layers_have():
    width, depth, batch, length = 32, 2, 4, 128
    cost = rows.cost(rows.TEXT, width, depth, batch, length)
    tokens = jax.ShapeDtypeStruct((batch, length), np.int32)
    counted = accounting.count(rows.network(rows.TEXT, width, depth, length), tokens, embeddings=False)
    assert (cost.bare, cost.step_flops, cost.step_tokens) == (
        counted.parameters,
        counted.training_flops,
        batch * length,
    )
    assert cost.parameters == counted.parameters + counted.embedding_parameters


def test_networks_of_two_lists_that_do_not_match_are_refused():
    for changes, words in (
        ({"text": dataclasses.replace(FULL.text, depths=(1, 2))}, "--text.depths 1 2 must be as many"),
        ({"pictures": dataclasses.replace(FULL.pictures, budgets=(1e10, 1e9))}, "--pictures.budgets"),
        ({"checked": (4, 1)}, "--checked 4 1"),
        ({"checked": (1, 7)}, "--checked 1 7"),
    ):
        with pytest.raises(ConfigError, match=words):
            rows.check(dataclasses.replace(FULL, **changes))
    ranges.check(FULL)


def runs(law=LAW, protocol=rows.MATCHED, kind=rows.TEXT, penalty=0.0, seeds=2, config=FEW):
    """Every run of a protocol with the loss of a law; penalty: on the loss of a training of 100 steps, half of it for
    one of 200.
    """
    results = []
    for each in rows.planned(config):
        if each.protocol == protocol and each.row.kind == kind:
            cost = rows.cost_of(each.row)
            for mark, budget in zip(each.row.marks, each.budgets, strict=True):
                loss = float(law.loss(cost.parameters, mark * cost.step_tokens)) + penalty * 100 / mark
                results.append(Run(protocol, kind, each.size, budget, each.factor, cost, mark, (loss,) * seeds, 1.0))
    return results


def on_law(law=LAW):
    """Runs of sizes around the best one of each budget, where C = 6 N D."""
    results = []
    for budget in (1e10, 1e11, 1e12):
        best = float(law.optimum(budget).parameters)
        for size, factor in enumerate((0.25, 0.5, 1.0, 2.0, 4.0)):
            parameters = round(best * factor)
            tokens = round(budget / (6 * parameters))
            cost = rows.Cost(parameters, parameters // 2, 6 * parameters, 1)
            losses = (float(law.loss(parameters, tokens)),) * 2
            results.append(Run(rows.MATCHED, rows.TEXT, size, budget, 1.0, cost, tokens, losses, 1.0))
    return results


def test_the_exponent_of_losses_from_a_law_is_that_of_the_law_and_its_interval_holds_it():
    law_runs = on_law()
    assert measures.exponent(law_runs) == pytest.approx(LAW.exponent, abs=1e-3)
    value, low, high = measures.exponent_of(dataclasses.replace(FULL, resamples=20), law_runs)
    assert value == pytest.approx(LAW.exponent, abs=1e-3) and low <= LAW.exponent + 1e-3 and high >= LAW.exponent - 1e-3
    assert measures.exponent(law_runs[:5]) != measures.exponent(law_runs[:5])  # one budget has no exponent


def test_losses_at_equal_budgets_lie_on_the_lines_between_runs_and_not_beyond():
    points = measures.table(runs(Chinchilla(0.0, 1e-12, 3.0, 0.5, 0.2)), embeddings=False)
    equal = measures.at_equal_budgets(points, 3)
    assert len(np.unique(equal.flops.round())) <= 3 and set(equal.parameters) <= set(points.parameters)
    np.testing.assert_allclose(equal.loss, 3.0 * equal.tokens**-0.2, rtol=1e-6)  # a power law is a line in the logs
    for size in np.unique(equal.parameters):
        rows_of_size = points.flops[points.parameters == size]
        assert np.all(equal.flops[equal.parameters == size] <= rows_of_size.max() * 1.0001) and np.all(
            equal.flops >= points.flops.min()
        )


def test_a_penalty_on_short_trainings_bends_the_exponent_upwards_and_none_leaves_it():
    config = dataclasses.replace(FULL, resamples=20)
    bent = measures.bend(config, runs() + runs(protocol=rows.FIXED, penalty=0.1))
    straight = measures.bend(config, runs() + runs(protocol=rows.FIXED))
    assert bent[0] > 0.02 and abs(straight[0]) < 1e-9


def judged(config, runs):
    """Claims and controls of one seed, by their id."""
    claims = STUDY.judge(Measurements(scaling_train.measured(config, runs)))
    return {claim.id: claim for claim in claims if claim.seed in (0, None)}


def test_claims_are_about_what_was_measured():
    config = dataclasses.replace(FULL, resamples=4)
    rates = [
        dataclasses.replace(run, losses=(3.0 + 0.05 * (run.factor == 1.0) * (run.size == 4),) * 2)
        for run in runs(protocol=rows.RATES)
    ]
    control = runs(Chinchilla(3.0, 1e-9, 1e-9, 0.3, 0.3), rows.CONTROL, rows.SHUFFLED)
    all_runs = [*runs(), *runs(protocol=rows.FIXED, penalty=0.1), *rates, *control, *runs(kind=rows.PICTURES)]
    results = judged(config, all_runs)
    assert (
        results["r-squared"].verdict == "PASS"
        and results["gain"].value > 0.2
        and results["gain-shuffled"].verdict == "PASS"
    )
    assert results["rate"].value == pytest.approx(0.05) and results["rate"].verdict == "FAIL"
    assert results["bend"].value > 0
    smallest_best = runs(Chinchilla(1.0, 1e-3, 200.0, 0.01, 0.4))
    assert judged(config, [*smallest_best, *control])["interior"].verdict == "FAIL"
    nothing = judged(config, [])
    assert {claim.verdict for claim in nothing.values()} == {"FAIL"} and set(nothing) == {row.id for row in STUDY.rows}


@pytest.fixture
def few_texts(monkeypatch):
    rng = np.random.default_rng(0)
    texts_given = tuple(
        "\n".join(f"line {number} of text {name} {rng.integers(10**9)}" for number in range(30)) for name in range(20)
    )
    monkeypatch.setattr(
        text, "python_sources", lambda: Documents(tuple(f"{name}.py" for name in range(20)), texts_given)
    )
    texts.corpus.cache_clear()
    yield texts_given
    texts.corpus.cache_clear()


def test_files_are_held_out_whole_and_shuffled_bytes_are_the_same_bytes(few_texts, monkeypatch):
    def absent():
        raise DataError("this Python was installed without its manual")

    monkeypatch.setattr(text, "python_manual", absent)
    plain, shuffled = texts.corpus(16, 0.2, 10**6), texts.corpus(16, 0.2, 10**6, shuffled=True)
    assert plain.files == (16, 4)
    trained, held = (
        bytes(side.ravel()[side.ravel() < 256].astype(np.uint8)).decode() for side in (plain.train, plain.held_out)
    )
    places = [(each.splitlines()[0] in trained, each.splitlines()[0] in held) for each in few_texts]
    assert sum(first for first, _ in places) == 16 and all(first != second for first, second in places)
    for side, other in ((plain.train, shuffled.train), (plain.held_out, shuffled.held_out)):
        np.testing.assert_array_equal(np.sort(side, None), np.sort(other, None))
        assert not np.array_equal(side, other)
    assert plain.digest != shuffled.digest
    monkeypatch.setattr(text, "python_sources", absent)
    with pytest.raises(DataError, match="without its manual; this Python"):
        texts.documents()


def test_each_seed_has_an_order_of_its_own_and_pictures_never_come_twice(few_texts):
    row = next(each.row for each in matched() if each.size == 0)
    tokens = texts.batch(row, 3).tokens
    assert tokens.shape == (row.batch, 2, row.length + 1) and not np.array_equal(tokens[:, 0], tokens[:, 1])
    alone = texts.batch(dataclasses.replace(row, seeds=(1,)), 3).tokens
    np.testing.assert_array_equal(tokens[:, 1:], alone)
    with pytest.raises(ConfigError, match="--text.batch 99999"):
        texts.batch(dataclasses.replace(row, batch=99999), 0)
    picture_row = dataclasses.replace(matched(rows.PICTURES)[0].row, batch=4)
    indices = np.concatenate([pictures.batch(picture_row, step).clean for step in (0, 1)])
    assert indices.shape == (8, 2, rows.SIDE, rows.SIDE, 3) and len(np.unique(indices.reshape(16, -1), axis=0)) == 16


@pytest.mark.slow
@pytest.mark.fault("kill -9 anywhere, then resume")
def test_a_row_that_was_killed_between_two_marks_ends_with_the_losses_of_one_that_was_not(
    few_texts, tmp_path, monkeypatch
):
    row = dataclasses.replace(
        matched()[0].row,
        width=8,
        depth=1,
        length=8,
        marks=(2, 4),
        horizon=5,
        batch=2,
        judged=4,
        held_out=0.3,
        warm_up=0.2,
    )

    train._shared_programs.cache_clear()
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 3)

    def run(name, row=row):
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir(exist_ok=True)
        return train.train_row(row, folder, Progress(quiet=True))

    real, died = texts.batch, []

    def dies(row, step):
        if step == 3 and not died:
            died.append(step)
            raise RuntimeError("killed")
        return real(row, step)

    with devices.compiled_quickly():
        uninterrupted = run("whole")
        shorter = run("shorter", dataclasses.replace(row, horizon=4))
        monkeypatch.setattr(texts, "batch", dies)
        with pytest.raises(RuntimeError, match="killed"):
            run("cut")
        assert (tmp_path / "cut" / "mark_2.json").exists()
        assert run("cut") == uninterrupted
    assert [(line["step"], line["seed"]) for line in uninterrupted] == [(2, 0), (2, 1), (4, 0), (4, 1)]
    assert len({line["loss"] for line in uninterrupted}) == 4 and all(
        4.0 < line["loss"] < 6.5 for line in uninterrupted
    )
    # another horizon, by the same program
    assert [line["loss"] for line in shorter] != [line["loss"] for line in uninterrupted]
    cost = rows.cost_of(row)
    assert (
        uninterrupted[2]["tokens"] == 4 * 16 == 4 * cost.step_tokens
        and uninterrupted[2]["flops"] == 4 * cost.step_flops
    )
    assert train._shared_programs.cache_info().currsize == 1
