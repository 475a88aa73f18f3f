"""What a folder holds is said part by part, with its sizes and problems, and nothing is read for it."""

import collections
import json

import pytest

from gendiff.pipelines.stable_diffusion import folder_scheduler, inspect, model_parts
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.refused_folder import nothing_loaded
from tests.pipelines.stable_diffusion.tiny_folders import CHOSEN, FOLDERS, arrays_of

pytest.importorskip("tokenizers", reason="needs the extra [text]")


@pytest.mark.parametrize("name", CHOSEN)
def test_a_good_folder_has_every_part_with_its_size_and_no_problem(tmp_path, name):
    folder = tiny_folders.write(tmp_path, name)

    with nothing_loaded():
        result = inspect(folder)
    assert not result.problems and result.pipeline == FOLDERS[name][0]
    assert result.size == ((256, 256) if name in ("flux", "flux_2", "z_image") else (16, 16))
    assert {part.name for part in result.parts} == set(FOLDERS[name][2])
    for part in result.parts:
        if part.files:
            stored = arrays_of(name, part.name).values()
            assert part.parameters == sum(array.size for array in stored) and part.nbytes == 4 * part.parameters
            assert part.types == ("float32",) and not part.problem
    assert result.nbytes == sum(part.nbytes for part in result.parts)


def test_each_part_is_opened_once(tmp_path, monkeypatch):
    counts = collections.Counter()

    def counted(read):
        def reading(index, name="scheduler", **fields):
            counts[name] += 1
            return read(index, *(() if name == "scheduler" else (name,)), **fields)

        return reading

    for module, function in ((model_parts, "opened"), (model_parts, "tokenizer"), (folder_scheduler, "read")):
        monkeypatch.setattr(module, function, counted(getattr(module, function)))
    assert not inspect(tiny_folders.write(tmp_path, "xl")).problems
    assert counts == dict.fromkeys(FOLDERS["xl"][2], 1)


def test_each_bad_part_is_named_and_none_hides_another(tmp_path):
    folder = tiny_folders.write(tmp_path, "xl")
    (folder / "vae" / "config.json").write_text("{")
    (folder / "tokenizer_2" / "merges.txt").unlink()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    result = inspect(folder)
    assert [part.name for part in result.parts if part.problem] == ["tokenizer_2", "unet", "vae"]
    assert len(result.problems) == 3 and all(problem.startswith(str(folder)) for problem in result.problems)


def test_parts_that_do_not_fit_each_other_are_a_problem_of_the_folder(tmp_path):
    folder = tiny_folders.write(tmp_path, "stable", lambda part: arrays_of("stable", part))
    tiny_folders.write_tokenizer(folder / "tokenizer", tiny_folders.TOKENIZER | {"model_max_length": 12})
    result = inspect(folder)
    assert not any(part.problem for part in result.parts) and "does not fit its tokenizer" in result.problems[0]


def test_a_folder_without_an_index_is_one_problem(tmp_path):
    result = inspect(tmp_path)
    assert not result.parts and len(result.problems) == 1 and "model_index.json: no such file" in result.problems[0]


def test_what_is_left_out_is_said_with_the_reason(tmp_path):
    folder = tiny_folders.write(tmp_path, "stable")
    changed = tiny_folders.index("stable") | {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    (folder / "model_index.json").write_text(json.dumps(changed))
    assert [name for name, _ in inspect(folder).skipped] == ["safety_checker"]
