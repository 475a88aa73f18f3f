"""What stands in experiments/results was measured by committed code, against the thresholds that the code still has."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from experiments import catalogue
from experiments.documentation import redraw, results_pages, statements
from gendiff.commands.text_to_image import published
from gendiff.core.errors import ConfigError
from gendiff.runs import network_files, registry
from gendiff.runs.reporting import figures, json_files, results, verdicts
from gendiff.weights import files

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "experiments" / "results"
FOLDERS = sorted({path.parent for path in RESULTS.glob("*/*") if path.suffix != published.SUFFIX})
"""Of results. A network may stand alone until the full run of its experiment."""


def problems(outcome, experiment, known_commit):
    """All that is wrong with a committed result; empty where it may stand. known_commit: hash -> whether it exists."""
    mistakes = []
    if outcome.smoke:
        mistakes.append("is a smoke run")
    if outcome.dirty is not False:
        mistakes.append(f"dirty is {outcome.dirty}: measured by code that was never committed")
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", outcome.commit or ""):
        mistakes.append(f"commit {outcome.commit!r} is no full hash")
    elif not known_commit(outcome.commit):
        mistakes.append(f"commit {outcome.commit} is not in the history")
    if experiment.thresholds is not None:
        mistakes += [
            f"claim {claim.id}: threshold {claim.threshold} is none of {experiment.name}'s rows"
            for claim in outcome.claims
            if claim.threshold != experiment.thresholds.get(claim.id)
        ]
        return mistakes
    now = json_files.encode(getattr(experiment.presets["full"], "thresholds", {}))
    stored = outcome.config.get("thresholds", {})
    if stored != {name: now.get(name) for name in stored}:  # one that was added since has no claim here
        mistakes.append(f"its thresholds {stored} are not those of {experiment.config.__name__}, {now}")
    for claim in outcome.claims:
        if claim.against:
            continue  # it is compared with its treatment
        if claim.threshold_name not in stored:
            mistakes.append(
                f"claim {claim.id}: its threshold_name {claim.threshold_name!r} is not among the configured thresholds"
            )
        elif claim.threshold != stored[claim.threshold_name]:
            mistakes.append(
                f"claim {claim.id}: threshold {claim.threshold}, but {claim.threshold_name} = "
                f"{stored[claim.threshold_name]}"
            )
    return mistakes


def git(*arguments):
    clean = {
        name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, env=clean, check=False)


def in_history(commit):
    shallow = git("rev-parse", "--is-shallow-repository")
    if shallow.returncode != 0 or shallow.stdout.strip() == "true":
        return True  # an export or a shallow clone cannot tell
    return git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0


def test_a_committed_result_is_clean_and_whole_and_has_the_thresholds_of_its_code():
    mistakes = []
    for folder in FOLDERS:
        outcome = results.read(folder)
        wrong = problems(outcome, registry.load(outcome.name, catalogue.EXPERIMENTS), in_history)
        wrong += [] if folder.name == outcome.name else [f"is of {outcome.name}"]
        wrong += [f"lacks {figure.file}" for figure in outcome.figures if not (folder / figure.file).is_file()]
        small = {published.SUFFIX: published.LARGEST}
        committed = [path for path in folder.iterdir() if path.name != "report.html"]
        wrong += [
            f"{path.name} is too large" for path in committed if path.stat().st_size > small.get(path.suffix, 2**20)
        ]
        mistakes += [f"{folder.name}: {problem}" for problem in wrong]
    assert not mistakes, "\n".join(mistakes)


def test_every_claim_has_a_role_and_every_study_answers():
    wrong = []
    for folder in FOLDERS:
        outcome = results.read(folder)
        wrong += [f"{folder.name}: {claim.id} has no role" for claim in outcome.claims if not claim.role]
        wrong += [] if outcome.answer else [f"{folder.name}: has no answer"]
        tested = {claim.essay for claim in outcome.claims if claim.essay}
        wrong += [
            f"{folder.name}: says nothing of {number}, which it tests"
            for number in sorted(tested - set(outcome.statements))
        ]
        known = {number for chapter in statements.CHAPTERS.values() for number in chapter}
        wrong += [
            f"{folder.name}: {number} is no statement" for number in sorted({*tested, *outcome.statements} - known)
        ]
    assert not wrong, "\n".join(wrong)


def test_no_control_is_held_against_the_threshold_of_a_claim():
    """The treatment itself might meet it: a control is compared with its treatment."""
    wrong = []
    for folder in FOLDERS:
        claims = results.read(folder).claims
        shared = {claim.threshold_name for claim in claims if claim.kind == "claim" and claim.threshold_name}
        controls = {claim.id: claim for claim in claims if claim.kind == "control" and not claim.against}
        wrong += [f"{folder.name}: {id}" for id, claim in controls.items() if claim.threshold_name in shared]
    assert not wrong, "\n".join(wrong)


def test_a_committed_network_has_the_digest_and_the_licence_that_its_file_says():
    networks = sorted(RESULTS.glob(f"text-to-image/*{published.SUFFIX}"))
    for file in networks:
        about = published.read_about(file)
        assert about.sha256 == network_files.digest(files.load(file), about), file
        assert about.licence and published.MODELS[file.stem] == about.name, file
    assert {file.stem for file in networks} == set(published.MODELS)


@pytest.fixture(scope="module")
def pages():
    return dict(results_pages.pages())


def test_a_page_of_results_is_as_it_is_generated(pages):
    stale = [str(file) for file, text in pages.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, "\n".join(["run python -m experiments.documentation.results_pages", *stale])


def test_every_experiment_has_a_page_of_results_or_says_that_none_is_committed(pages):
    index = pages[results_pages.FOLDER / "README.md"]
    for name in catalogue.EXPERIMENTS:
        measured = results_pages.FOLDER / name / "README.md" in pages
        assert f"[{name}]({name}/README.md)" in index if measured else f"| {name} |" in index and "no full run" in index


def test_a_result_that_was_measured_on_more_machines_has_a_column_for_each(tmp_path):
    for name in ("bench", "certify"):
        (tmp_path / name).mkdir()
        shutil.copy(results_pages.FOLDER / name / "results.json", tmp_path / name)
    page = tmp_path / "bench" / "README.md"
    assert "On each machine" not in dict(results_pages.pages(tmp_path))[page]
    other = json.loads((tmp_path / "bench" / "results.json").read_text(encoding="utf-8"))
    here, other["machine"]["cpu"] = other["machine"]["cpu"], "a faster CPU"
    other["claims"] = [
        *other["claims"][1:],
        other["claims"][1] | {"id": "further", "statement": "a case of that machine alone"},
    ]
    (tmp_path / "bench" / results.MACHINES / "faster").mkdir(parents=True)
    (tmp_path / "bench" / results.MACHINES / "faster" / "results.json").write_text(json.dumps(other), encoding="utf-8")
    text = dict(results_pages.pages(tmp_path))[page]
    head, _, first, second, *_ = text[text.index("| statement", text.index("On each machine")) :].splitlines()
    assert head.split(" | ")[1].startswith(here) and head.split(" | ")[2].startswith("a faster CPU")
    assert first.endswith("|  |") and second.count("PASS") + second.count("FAIL") == 2
    (further,) = (line for line in text.splitlines() if line.startswith("| a case of that machine alone"))
    assert further.split(" | ")[1].strip() == "" and further.count("PASS") + further.count("FAIL") == 1


@dataclasses.dataclass(frozen=True)
class Thresholds:
    accuracy: float = 0.95


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0,)
    thresholds: Thresholds = Thresholds()


EXPERIMENT = registry.Experiment(
    "example", "?", Config, {"full": Config()}, Config(), None, lambda *_: registry.Outcome(())
)


@dataclasses.dataclass(frozen=True)
class MoreThresholds(Thresholds):
    speed: float = 2.0


@dataclasses.dataclass(frozen=True)
class LaterConfig(Config):
    thresholds: Thresholds = MoreThresholds()


def example(*, dirty=False, commit="a" * 40, threshold=0.95, name="accuracy", config=None, smoke=False):
    claim = verdicts.claim("accuracy", "a", 0.97, (0.96, 0.98), ">=", threshold, n=10, seed=0, threshold_name=name)
    environment = results.Environment(commit=commit, dirty=dirty, versions={}, machine={})
    return results.conclude(
        "example", "?", config or Config(), [claim], seeds=(0,), seconds={}, environment=environment, smoke=smoke
    )


def test_a_result_that_may_not_stand_is_found():
    for changes, message in (
        ({}, None),
        ({"dirty": True}, "dirty is True"),
        ({"dirty": None}, "dirty is None"),
        ({"commit": None}, "is no full hash"),
        ({"commit": "a" * 12}, "is no full hash"),
        ({"commit": "b" * 40}, "is not in the history"),
        ({"smoke": True}, "is a smoke run"),
        ({"threshold": 0.94}, "claim accuracy: threshold 0.94, but accuracy = 0.95"),
        ({"name": ""}, "threshold_name '' is not among"),
        ({"config": Config(thresholds=Thresholds(0.9)), "threshold": 0.9}, "are not those of Config"),
    ):
        mistakes = problems(example(**changes), EXPERIMENT, lambda commit: commit != "b" * 40)
        assert len(mistakes) == (message is not None) and all(message in each for each in mistakes), changes


def test_a_claim_of_a_study_has_the_threshold_of_its_row():
    rows = dataclasses.replace(EXPERIMENT, thresholds={"accuracy": 0.95})
    assert not problems(example(), rows, lambda commit: True)
    (mistakes,) = problems(example(), dataclasses.replace(rows, thresholds={"accuracy": 0.9}), lambda commit: True)
    assert mistakes == "claim accuracy: threshold 0.95 is none of example's rows"


def test_a_threshold_that_was_added_since_needs_no_new_run_and_one_that_is_gone_does():
    later = dataclasses.replace(EXPERIMENT, config=LaterConfig, presets={"full": LaterConfig()}, smoke=LaterConfig())
    assert not problems(example(), later, lambda commit: True)
    (mistakes,) = problems(example(config=LaterConfig()), EXPERIMENT, lambda commit: True)
    assert "are not those of Config" in mistakes


PICTURES = sorted(RESULTS.glob("*/*.png"))


def test_no_committed_picture_is_higher_than_a_screen():
    """Sheets of explorers and scrubbers are never seen as a whole: a page shows one frame of them."""
    too_high = []
    for path in PICTURES:
        with Image.open(path) as image:
            if image.height > figures.TALL and "frames" not in image.info:
                too_high.append(f"{path.relative_to(RESULTS)}: {image.height}")
    assert len(PICTURES) > 150 and not too_high


REDRAWN = [
    path
    for path in FOLDERS
    if path.name in catalogue.EXPERIMENTS and registry.load(path.name, catalogue.EXPERIMENTS).plots
]


@pytest.mark.parametrize("folder", REDRAWN, ids=lambda path: path.name)
def test_plots_are_drawn_again_from_the_tables_alone_and_captions_are_those_of_today(folder, tmp_path):
    shutil.copy(folder / results.FILE, tmp_path)
    outcome = redraw.redraw(folder.name, tmp_path)
    known = {figure.file: figure for figure in results.read(folder).figures}
    assert outcome and all(known[figure.file] == figure for figure in outcome)
    for figure in outcome:
        with Image.open(tmp_path / figure.file) as now, Image.open(folder / figure.file) as committed:
            assert now.size == committed.size, (
                f"{figure.file} is {committed.size}: run python -m experiments.documentation.redraw"
            )


def test_a_study_whose_tables_hold_no_plot_is_refused(tmp_path):
    shutil.copy(RESULTS / "chat" / results.FILE, tmp_path)
    with pytest.raises(ConfigError, match="chat has no plots"):
        redraw.redraw("chat", tmp_path)
