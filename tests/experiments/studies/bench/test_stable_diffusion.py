"""The bench of Stable Diffusion: its settings are the published ones, its claims fail where sides differ, and each case
runs tiny.
"""

import contextlib
import dataclasses
import functools
import math
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.bench import (
    bench,
    bench_stable_diffusion,
    findings,
    full_size,
    random_folders,
    stable_diffusion_cases,
)
from experiments.bench.config import FolderConfig, FolderThresholds, FullSizeThresholds, Setting
from experiments.bench.folder_settings import FOLDERS
from gendiff.data import clip_tokenizer
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import inspect
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

PUBLISHED = {
    ("sd15", "unet"): 859_520_964,
    ("sd15", "vae"): 83_653_863,
    ("sd15", "text_encoder"): 123_060_480,
    ("sdxl", "unet"): 2_567_463_684,
    ("sdxl", "text_encoder_2"): 694_659_840,
}
"""Numbers of parameters of the published models, as diffusers and transformers count them."""


@pytest.mark.parametrize(
    ("folder", "part"),
    [pytest.param(*key, marks=[pytest.mark.slow] if count > 2e8 else []) for key, count in PUBLISHED.items()],
)
def test_settings_have_as_many_parameters_as_the_published_models(folder, part):
    shapes = random_folders.shapes(FOLDERS[folder].parts[part]).values()
    assert sum(math.prod(shape) for shape in shapes) == PUBLISHED[folder, part]


class Fake:
    """A side that is `slower` times as slow as ours, whose answers are `distance` from ours; takes `peak` GiB."""

    def __init__(self, slower=1.0, distance=0.0, peak=1.0):
        self.slower, self.distance, self.peak = slower, distance, peak

    def ask(self, op, *, limit=0.0, **request):
        if "to" in request:
            np.savez(request["to"], output=np.linspace(0.0, 1.0, 5) + self.distance)
        return {"run": 2.0 * self.slower}.get(op, {"first": 3.0, "peak_mib": 1024 * self.peak})


@dataclasses.dataclass(frozen=True)
class FakeSetting(Setting):
    """Sides that are fakes."""

    sides: dict = dataclasses.field(default_factory=dict)

    def start(self, side, **variables):
        return contextlib.nullcontext(self.sides[side])


def claims(tmp_path, name, ours=None, cases=stable_diffusion_cases.ALL, limits=FolderThresholds, **theirs):
    """Whether each claim of a case holds, of ours beside diffusers as told."""
    sides = {stable_diffusion_cases.OURS: Fake(**ours or {}), stable_diffusion_cases.DIFFUSERS: Fake(**theirs)}
    setting = FakeSetting(FolderConfig(tiny=True), tmp_path, Path("python"), sides=sides)
    case = next(case for case in cases if case.name == name)
    (tmp_path / f"{case.workload.small.network}_{case.workload.dtype}").mkdir(exist_ok=True)
    return {claim.id: claim.verdict == "PASS" for claim in findings.claims(case.measure(case, setting), limits())}


def test_claims_hold_where_sides_agree_and_fail_where_they_do_not(tmp_path):
    kinds = {f"sd_parts_{kind}" for kind in stable_diffusion_cases.PARTS}
    assert claims(tmp_path, "sd_parts") == dict.fromkeys(kinds, True)
    assert claims(tmp_path, "sd_parts", distance=2e-4) == dict.fromkeys(kinds, False)
    assert claims(tmp_path, "sd_draw", distance=9e-4) == {"sd_draw": True} and claims(
        tmp_path, "sd_draw", distance=2e-3
    ) == {"sd_draw": False}
    assert claims(tmp_path, "sd_step", slower=1.5) == {"sd_step": True, "sd_step_memory": True}
    assert claims(tmp_path, "sd_step", slower=0.9, peak=0.9) == {"sd_step": False, "sd_step_memory": False}


def test_models_at_full_size_must_fit_and_agree(tmp_path):
    judged = functools.partial(claims, tmp_path, cases=full_size.CASES, limits=FullSizeThresholds)
    assert judged("klein", distance=0.02) == {"klein": True, "klein_step": True}
    assert judged("klein", distance=0.05) == {"klein": True, "klein_step": False}
    assert judged("z_image", ours={"peak": 16.5}) == {"z_image": False, "z_image_step": True}


def test_every_threshold_is_one_of_the_bench(tmp_path):
    fields = {field.name for field in dataclasses.fields(FolderThresholds)}
    assert {case.threshold for case in stable_diffusion_cases.ALL} - {
        ""
    } <= fields and FolderConfig().thresholds == FolderThresholds()
    assert bench_stable_diffusion.EXPERIMENT.presets["full"] == FolderConfig()
    assert len({case.name for case in stable_diffusion_cases.ALL}) == len(stable_diffusion_cases.ALL)
    assert (
        {case.workload.small.network for case in stable_diffusion_cases.ALL}
        == {"tiny_sd15", "tiny_sdxl"}
        <= set(FOLDERS)
    )


def test_the_vocabulary_has_all_ids_and_the_tokenizer_reads_it(tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    random_folders.write_texts(tmp_path, "tiny_sd15")
    tokenizer = clip_tokenizer.load(tmp_path / "tokenizer")
    assert sorted(random_folders.vocabulary(100).values()) == list(range(100)) and (
        tokenizer.before,
        tokenizer.after,
    ) == ((98,), (99,))
    assert tokenizer.text(tokenizer.ids("a horse, red")).replace(" ", "") == "ahorse,red"


@pytest.mark.slow
def test_each_case_runs_tiny_without_diffusers(tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    config = FolderConfig(pairs=2, call_seconds=0.02, tiny=True)
    outcome = bench.measure(bench_stable_diffusion.EXPERIMENT, config, RunFolder(tmp_path), Progress(), smoke=True)
    (left_out,) = (table for table in outcome.tables if table.title == "Left out")
    assert dict(left_out.rows) == {"sd_parts": "it needs --peers", "sd_draw": "it needs --peers"}
    assert {claim.id for claim in outcome.claims} == {"sdxl_bfloat16"}
    assert (
        len(
            [
                table
                for table in outcome.tables
                if table.title.startswith(("A guided step", "Reading", "Seconds from", "Stable"))
            ]
        )
        == 4
    )


@pytest.mark.slow
def test_a_folder_that_is_written_without_diffusers_has_no_problem(tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    for name in ("tiny_sd15", "tiny_sdxl", "tiny_klein", "tiny_z_image"):
        random_folders.write(tmp_path / name, name)
        report = inspect(tmp_path / name)
        assert not report.problems, report.problems


@pytest.mark.slow
def test_large_weights_are_in_several_files_and_the_same(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    random_folders.write(tmp_path / "one", "tiny_z_image", "bfloat16")
    monkeypatch.setattr(random_folders, "SHARD", 5_000)
    random_folders.write(tmp_path / "many", "tiny_z_image", "bfloat16")
    assert len(list((tmp_path / "many/transformer").glob("*.safetensors"))) > 2
    one, many = (stable_diffusion.open_model(tmp_path / name).part_params("transformer") for name in ("one", "many"))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, many))


def test_a_difference_is_a_share_of_the_second_and_none_of_what_is_not_finite(tmp_path):
    outputs = {"one": [[3.0, 4.0]], "two": [[3.0, 4.5]], "wide": [3.0, 4.0], "lost": [[3.0, math.nan]]}
    for name, output in outputs.items():
        np.savez(tmp_path / f"{name}.npz", output=output)
    by = {name: full_size.relative(tmp_path / f"{name}.npz", tmp_path / "one.npz") for name in outputs}
    assert by == {"one": 0.0, "two": pytest.approx(0.1), "wide": math.inf, "lost": math.inf}
