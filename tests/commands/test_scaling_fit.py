"""The command `scaling-fit` on tables that the repository does not contain, and what the experiment says of published
constants.
"""

import contextlib
import io
import json
import math

import numpy as np
import pytest

from experiments import catalogue
from experiments.scaling import scaling_fit
from gendiff.commands import command_line
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from gendiff.scaling import fits, published
from gendiff.scaling.laws import Chinchilla
from tests.tables import table

SIZES, BUDGETS = np.geomspace(5e6, 4e10, 12), np.geomspace(1e18, 1e21, 5)


def sweep(path, parameters, tokens, noise=0.003):
    """A CSV of trainings by the law of Besiroglu et al., as somebody else would have written it."""
    loss = published.EPOCH.loss(parameters, tokens) * np.exp(
        noise * np.random.default_rng(0).normal(size=len(parameters))
    )
    rows = [
        f"a run,{size:.6g},{flops:.6g},{each:.5f}"
        for size, flops, each in zip(parameters, 6 * parameters * tokens, loss, strict=True)
    ]
    path.write_text("\n".join(["name,Model Size,Training FLOP,loss", *rows]) + "\n")
    return path


def run(*words):
    return command_line.main(["scaling-fit", *map(str, words)], catalogue.EXPERIMENTS)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """(folder, what was left in fits.json, what was printed) of one call on the same sizes at every budget."""
    folder = tmp_path_factory.mktemp("fit")
    parameters, flops = (each.ravel() for each in np.meshgrid(SIZES, BUDGETS))
    options = ("--data", sweep(folder / "sweep.csv", parameters, flops / (6 * parameters)), "--out", folder / "out")
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert run(*options, "--resamples", "12", "--flops", published.CHINCHILLA_FLOPS) == 0
    return folder / "out", json.loads((folder / "out" / "fits.json").read_text(encoding="utf-8")), output.getvalue()


def test_one_command_fits_a_foreign_table_by_every_approach_with_intervals_and_plots(fitted):
    out, left, _ = fitted
    assert (
        left["columns"] == {"parameters": "Model Size", "flops": "Training FLOP", "loss": "loss"}
        and left["points"] == 60
    )
    by_approach = {fit["approach"]: fit for fit in left["fits"]}
    assert list(by_approach) == ["envelope", "isoflop", "parametric", "varpro"] and not any(
        fit["refused"] for fit in left["fits"]
    )
    truth = published.EPOCH.constants
    for approach, error in (("envelope", 0.1), ("isoflop", 0.03), ("parametric", 0.03), ("varpro", 0.03)):
        value, low, high = by_approach[approach]["constants"]["exponent"]
        assert low < high and abs(value - truth["exponent"]) < error and by_approach[approach]["resamples"] > 6
        best, low, high = by_approach[approach]["best"][0]
        assert low < high and abs(math.log(best / 7e10)) < (1.0 if approach == "envelope" else 0.3)
    value, low, high = by_approach["parametric"]["constants"]["alpha"]
    assert by_approach["parametric"]["converged"] and abs(value - truth["alpha"]) < 0.03
    assert {path.name for path in out.iterdir()} == {"fits.json", "isoflop.png", "surface.png"}


def test_the_terminal_shows_every_approach_and_a_folder_with_other_files_is_refused(fitted, tmp_path, capsys):
    out, _, output = fitted
    for words in (
        "approach 1, envelope",
        "approach 2, parabolas",
        "approach 3, Huber",
        "variable projection",
        "plot: ",
        "E + A / N^α",
    ):
        assert words in output
    (tmp_path / "thesis.pdf").touch()
    assert run("--data", out.parent / "sweep.csv", "--out", tmp_path) == 2
    assert "holds thesis.pdf but no fits.json" in capsys.readouterr().err


def test_what_looks_wrong_in_a_table_is_a_line_each_and_stands_in_the_file(fitted, tmp_path, capsys):
    out, left, output = fitted
    assert left["findings"] == [] and "finding: " not in output
    lines = (out.parent / "sweep.csv").read_text().splitlines()
    cells = lines[20].split(",")
    lines[20] = ",".join([*cells[:3], f"{float(cells[3]) / math.log(2):.5f}"])
    (tmp_path / "sweep.csv").write_text("\n".join([*lines, lines[9]]) + "\n")
    words = ("--data", tmp_path / "sweep.csv", "--out", tmp_path / "out", "--resamples", "4", "--drop-largest", "1")
    assert run(*words) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("finding: ")]
    findings = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))["findings"]
    assert [(each["kind"], each["lines"]) for each in findings[:2]] == [
        ("doubled", [len(lines) + 1]),
        ("far from the fit", [21]),
    ]
    assert len(printed) == len(findings) and "as bits among nats are (line 21)" in printed[1]


def test_an_approach_that_the_table_does_not_allow_says_why_and_the_others_stand(tmp_path, capsys):
    rng = np.random.default_rng(1)
    parameters, tokens = (
        np.exp(rng.uniform(np.log(1e7), np.log(1e10), 60)),
        np.exp(rng.uniform(np.log(1e9), np.log(1e12), 60)),
    )
    assert (
        run("--data", sweep(tmp_path / "a.csv", parameters, tokens), "--out", tmp_path / "out", "--resamples", "4") == 0
    )
    left = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    by_approach = {fit["approach"]: fit for fit in left["fits"]}
    assert "train more sizes" in by_approach["envelope"]["refused"] and not by_approach["envelope"]["constants"]
    assert (
        not by_approach["parametric"]["refused"]
        and capsys.readouterr().out.count(by_approach["envelope"]["refused"]) == 1
    )


@pytest.mark.fault("scaling-fit: trainings that decide no law")
def test_trainings_that_no_approach_can_fit_are_refused_with_every_reason(tmp_path, capsys):
    parameters = np.geomspace(1e7, 1e9, 12)
    assert run("--data", sweep(tmp_path / "a.csv", parameters, 20 * parameters), "--out", tmp_path / "out") == 65
    out, error = capsys.readouterr()
    assert "a.csv: approach 1" in error and "N and D are confounded" in error and not (tmp_path / "out").exists()
    assert "N and D are confounded" not in out


@pytest.mark.fault("scaling-fit: a CSV without its columns, with a bad cell, or none at all")
@table(
    ("words", "code", "message"),
    [
        (("--data", "none.csv"), 65, "none.csv: no such file"),
        (("--data", "none.csv", "--resamples", "1"), 2, "--resamples 1 is outside [2, 100000]"),
        (("--data", "none.csv", "--flops", "0"), 2, "--flops 0 is outside"),
        (("--data", "none.csv", "--drop-largest", "-1"), 2, "--drop-largest -1 is outside"),
        (("--data", "none.csv", "--out", "s3://bucket/out"), 2, "is a URL"),
        ((), 2, "--data"),
    ],
)
def test_wrong_options_end_with_a_code_and_one_message(words, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == code and message in capsys.readouterr().err and not list(tmp_path.iterdir())


@table(
    ("law", "factor"),
    [
        (published.HOFFMANN, 1.054),
        (published.EPOCH, 0.984),
        (Chinchilla(1.0, 1.0, 1.0, 0.46, 0.15), 1.301),
        (scaling_fit.SURFACES["even"], 1.0),
    ],
)
def test_the_bias_of_a_parabola_in_closed_form_is_that_of_simulations(law, factor):
    assert scaling_fit.parabola_bias(law, 20, 16.0) == pytest.approx(factor, abs=0.02)
    assert abs(scaling_fit.parabola_bias(law, 20, 1.01) - 1) < 1e-4


def test_approach_2_has_the_bias_that_the_closed_form_says_at_every_budget():
    config, law = scaling_fit.Config(sizes=9), scaling_fit.SURFACES["uneven"]
    fitted = fits.fit_isoflop(scaling_fit.profiles(law, config.budgets, config.sizes, scaling_fit.SPREAD))
    expected = scaling_fit.parabola_bias(law, config.sizes, scaling_fit.SPREAD)
    assert np.allclose(fitted.minima / law.optimum(fitted.budgets).parameters, expected, rtol=1e-9) and expected > 1.2


def test_profiles_lie_around_the_best_size_at_equal_operations():
    points = scaling_fit.profiles(published.EPOCH, (1e18, 1e20, 1e22), 5, 4.0)
    best = published.EPOCH.optimum(points.flops)
    assert np.allclose(points.parameters / best.parameters, np.tile([1 / 4, 1 / 2, 1, 2, 4], 3))
    assert np.allclose(6 * points.parameters * points.tokens, points.flops) and np.all(
        points.loss >= best.loss * (1 - 1e-12)
    )


def test_published_constants_pass_where_they_must_and_their_controls_miss():
    measured = Measurements(scaling_fit.of_published())
    claims = {claim.id: claim for claim in scaling_fit.STUDY.judge(measured)}
    assert {claim.verdict for claim in claims.values()} == {"PASS"}
    assert {id for id, claim in claims.items() if claim.kind == "control"} == {"better-kaplan", "near-hoffmann"}
    tokens = {each.name: each.measures.get("token") for each in measured}
    assert tokens["GPT-3"] / tokens["Chinchilla"] == 2.5
    sizes = [each.measures["parameters"] for each in measured if each.group == scaling_fit.SERVING]
    assert sizes == sorted(sizes, reverse=True) and len(measured.names(scaling_fit.BEST)) == 6


def test_fits_of_made_trainings_are_judged_on_small_sweeps(tmp_path):
    config = scaling_fit.Config(seeds=(0,), sizes=7, replicates=20, resamples=20, shown_resamples=10)
    measured = Measurements(scaling_fit.measure(config, RunFolder(tmp_path), Progress(quiet=True)))
    claims = {claim.id: claim for claim in scaling_fit.STUDY.judge(measured)}
    assert (
        claims["biased-uneven"].verdict == claims["biased-even"].verdict == "PASS" and claims["coverage-half"].value < 0
    )
    third = [measured.mean(f"surface {name}", "size by approach 3")[0] for name in scaling_fit.SURFACES]
    assert third == pytest.approx([1.0] * len(third), rel=1e-3)
