import dataclasses

import pytest

from gendiff.core.errors import ConfigError
from gendiff.runs import registry, runner
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import answers, results, verdicts
from gendiff.runs.run_folder import RunFolder
from tests.tables import table

ENVIRONMENT = results.Environment(commit="a" * 40, dirty=False, versions={}, machine={})


def measured(**more):
    claims = [
        verdicts.claim("ddim-20", "s", 0.1702 + seed / 100, (0.1, 0.25), "<=", 0.3, n=9, seed=seed) for seed in (0, 1)
    ]
    claims.append(verdicts.claim("speed", "s", 1.5, (1.4, 1.6), ">=", 2.0, n=9, seed=None))
    tables = [
        results.Table(
            "Means over seeds",
            ("sampler", "steps", "accuracy"),
            (("ddim", 20, 0.983), ("ddpm", 1000, (0.99, 0.98, 1.0))),
        )
    ]
    figures = [results.Figure("curve.png", "a"), results.Figure("best.png", "b")]
    fields = {"seeds": (0, 1), "seconds": {}, "environment": ENVIRONMENT, "tables": tables, "figures": figures}
    return results.conclude("ddim-steps", "?", {}, claims, **fields | more)


NUMBERS = {
    "accuracy": answers.Cell("Means", ("ddim", 20), "accuracy"),
    "chain": answers.Cell("Means", ("ddpm",), "accuracy"),
    "fewer": answers.Cell("Means", ("ddpm",), "steps", over=("ddim",)),
}


@table(
    ("text", "sentence"),
    [
        ("{ddim-20} floors", "0.1752 floors"),
        ("{ddim-20:.2f interval} floors", "0.18 [0.12, 0.23] floors"),
        ("{accuracy:.1%} and {chain:.0% interval}", "98.3\u00a0% and 99\u00a0% [98\u00a0%, 100\u00a0%]"),
        ("{fewer:.0f} times fewer steps", "50 times fewer steps"),
        ("{speed:interval} times", "1.5 [1.4, 1.6] times"),
        ("no number", "no number"),
    ],
)
def test_a_sentence_has_the_measured_numbers(text, sentence):
    assert answers.fill(text, measured(), NUMBERS) == sentence


@table(
    ("text", "message"),
    [
        ("{speeds}", "names 'speeds', which is neither a claim nor among its numbers"),
        ("{lost}", "has 0 rows with"),
        ("{other}", "has no table whose title begins with 'Medians'"),
        ("{ratio}", "needs numbers without intervals"),
    ],
)
def test_a_sentence_without_its_number_is_refused(text, message):
    numbers = {
        "lost": answers.Cell("Means", ("heun",), "accuracy"),
        "other": answers.Cell("Medians", ("ddim",), "accuracy"),
        "ratio": answers.Cell("Means", ("ddim",), "accuracy", over=("ddpm",)),
    }
    with pytest.raises(ConfigError, match=message):
        answers.fill(text, measured(), numbers)


@table(
    ("text", "statements"),
    [
        ("{speed:3}", {}),
        ("{speed:+.2f interval}", {}),
        ("{speed}", {"E5": "{speed:.2f interval} and {speed:interval }"}),
    ],
)
def test_an_unknown_format_is_refused_before_a_run(text, statements):
    with pytest.raises(ConfigError, match=r"format '(3|\+.2f interval|interval )' of 'speed'"):
        answers.Answer(text=text, statements=statements)


ANSWER = answers.Answer(
    roles={"ddim-*": "E5", "*": "aim"},
    text="yes: {ddim-20:.2f}",
    statements={"E5": "{ddim-20:.1f} floors"},
    picture="best.png",
)


def test_a_number_of_a_table_with_seeds_is_the_mean_over_them():
    rows = results.Table("Each", ("set", "seed", "reward"), (("ppo", 0, 0.4), ("ppo", 1, 0.6), ("dpo", 0, 0.1)))
    assert (
        answers.fill("{ppo:.1f}", measured(tables=[rows]), {"ppo": answers.Cell("Each", ("ppo",), "reward")}) == "0.5"
    )


def test_a_study_gives_its_claims_roles_and_its_result_an_answer():
    outcome = answers.conclude(measured(), ANSWER)
    assert (outcome.verdict, outcome.answer, outcome.statements) == ("holds", "yes: 0.18", {"E5": "0.2 floors"})
    assert [(claim.role, claim.essay) for claim in outcome.claims] == [("essay", "E5")] * 2 + [("aim", "")]
    assert [figure.file for figure in outcome.figures] == ["best.png", "curve.png"]
    assert outcome.counts() == {"what the essay says": "1 of 1", "aims": "0 of 1"}
    assert answers.conclude(outcome, ANSWER) == outcome
    silent = answers.conclude(measured(), ANSWER, sentences=False)
    assert (silent.verdict, silent.answer, silent.statements) == ("holds", "", {})


def test_a_run_that_is_not_judged_has_no_answer():
    for more in ({"smoke": True}, {"named": False}):
        outcome = answers.conclude(measured(**more), ANSWER)
        assert not outcome.answer and not outcome.statements and outcome.claims[0].essay == "E5"


def test_a_role_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="claim 'speed' has role 'goal'"):
        answers.give_roles(measured().claims, {"speed": "goal"})


def test_the_difference_of_equal_numbers_has_the_interval_of_two():
    value, low, high = verdicts.less((0.5, 0.4, 0.6), (0.5, 0.4, 0.6))
    assert (value, low, high) == pytest.approx((0.0, -(0.02**0.5), 0.02**0.5))


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = ()


def test_results_are_written_without_an_answer_where_its_number_was_not_measured(tmp_path):
    """As of a bench that is asked for some of its cases."""
    measured = registry.Outcome((verdicts.claim("speed", "s", 1.5, (1.4, 1.6), ">=", 1.0, n=9, seed=None),))
    for text, answer in (("{speed} times", "1.5 times"), ("{memory} GiB", "")):
        example = registry.Experiment("x", "?", Config, {"full": Config()}, Config(), None, lambda *_: measured)
        example = dataclasses.replace(example, answer=answers.Answer(roles={"speed": "aim"}, text=text))
        outcome = runner.conclude(example, Config(), RunFolder(tmp_path), Progress(), ENVIRONMENT, smoke=False)
        assert (outcome.answer, outcome.verdict, outcome.claims[0].role) == (answer, "PASS", "aim"), text
        assert results.read(tmp_path) == outcome
