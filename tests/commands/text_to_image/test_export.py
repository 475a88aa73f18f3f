"""The exported pipeline runs where gendiff is not, gives the command's picture, and calls nothing that one platform
alone has.
"""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from experiments.diffusion import text_to_image
from experiments.diffusion.text_to_image import publishing
from gendiff import pipelines
from gendiff.commands.text_to_image import command, drawing, export, networks, options, published, texts
from gendiff.commands.text_to_image.networks import Normalisation, Trained
from gendiff.commands.text_to_image.options import CommandOptions
from gendiff.runs.progress import Progress
from gendiff.weights import mini_lm

CONFIG = text_to_image.EXPERIMENT.smoke
PAGE = Path(__file__).resolve().parents[3] / "experiments" / "documentation" / "pages" / "text_to_image.md"
PROMPT, AWAY = "a smiling sun wearing sunglasses", "a red cat"
WITHOUT = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("gendiff", "experiments"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refused())
for name in ("gendiff", "experiments"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
"""
ABSENT = """
if loaded := [name for name in sys.modules if name.split(".")[0] in ("gendiff", "experiments", "flax")]:
    raise SystemExit(f"{loaded} are loaded")
"""


@pytest.fixture(autouse=True)
def sizes_of_any_kind():
    """The number of pictures is a symbol in an exported program, and the types of shapes say int."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    pytest.importorskip("flatbuffers", reason="needs the extra [experiments]")
    try:
        mini_lm.folder()
    except ImportError as error:
        pytest.skip(str(error))


def network(name):
    """Of the smoke configuration, every parameter away from its first value, where a network answers 0."""
    trained = Trained(CONFIG, name, {}, Normalisation(0.5, 0.1) if name == networks.EMOJI else None)
    params = {"network": trained.model.init(jax.random.key(0))}
    if name == networks.EMOJI:
        params["decoder"] = trained.init_autoencoder(jax.random.key(1))
    rng = np.random.default_rng(0)
    moved = jax.tree.map(lambda leaf: jnp.asarray(leaf + rng.normal(0, 0.05, leaf.shape), leaf.dtype), params)
    return dataclasses.replace(trained, params={"text": texts.params()} | moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", [networks.FROZEN, networks.EMOJI], ids=["shapes", "emoji"])
def test_a_process_without_gendiff_draws_the_picture_of_the_command(name, tmp_path, monkeypatch):
    trained, lines = network(name), []
    monkeypatch.setattr(Progress, "line", lambda self, text: lines.append(text))
    file = tmp_path / f"mine{published.SUFFIX}"
    published.write(
        file,
        trained,
        lambda params: np.zeros((1, 2, 2, 3)),
        {"sun"},
        **publishing.origin(CONFIG, name),
        trained_seed=0,
        checkpoint=1,
    )
    options = CommandOptions(prompt=PROMPT, negative=AWAY, num=3, steps=4, guidance=2.5, seed=5, model=str(file))
    command.call(dataclasses.replace(options, export=str(tmp_path / "x.jaxexport")), {}, Progress())
    example = next(line for line in lines if "export.deserialize" in line).partition("\n\n")[2]
    assert re.search(r"^import jax", example)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + example + ABSENT],
        cwd=tmp_path,
        env={"PATH": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    there, calls = np.load(tmp_path / "x.npy"), []
    write = drawing.write
    monkeypatch.setattr(drawing, "write", lambda pictures, *rest: (calls.append(pictures), write(pictures, *rest)))
    command.call(dataclasses.replace(options, out=str(tmp_path / "x.png")), {}, Progress())
    assert calls[0].shape == there.shape == (3, trained.side, trained.side, 3) and np.ptp(there) > 0.1
    np.testing.assert_allclose(there, calls[0], atol=1e-5 * max(1.0, np.abs(there).max()))


@pytest.mark.slow
def test_every_platform_is_lowered_for_and_the_program_calls_nothing_of_one_alone():
    trained = network(networks.EMOJI)
    program = drawing.make_program(trained, options.sampling(None, None, 2))
    prompt = drawing.read_prompt("--prompt", PROMPT, (), Progress(quiet=True))
    module = export.network(program, trained.params, prompt.ids.shape[1])
    assert module.platforms == export.PLATFORMS == ("cpu", "cuda", "tpu") and not module.disabled_safety_checks
    calls = set(re.findall(r"custom_call\s*@([\w.]+)", module.mlir_module()))
    assert calls <= {"shape_assertion"}  # JAX resolves it before it compiles for any platform
    for index in (np.arange(1, dtype=np.int32), np.arange(2, dtype=np.int32)):
        away = pipelines.empty_prompt(prompt)
        shapes = jax.eval_shape(module.call, *prompt[:2], *away[:2], np.uint32(0), np.float32(1), index)
        assert shapes.shape == (len(index), trained.side, trained.side, 3)


@pytest.mark.slow
def test_the_page_shows_how_a_file_is_used_from_python(tmp_path, capsys):
    file, trained = tmp_path / f"shapes{published.SUFFIX}", network(networks.FROZEN)
    published.write(
        file,
        trained,
        lambda params: np.zeros((1, 2, 2, 3)),
        {"red"},
        **publishing.RENDERED,
        trained_seed=0,
        checkpoint=1,
    )
    (block,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert (path := 'published.file_of("shapes")') in block
    with jax.numpy_rank_promotion("allow"):  # as users have it
        exec(
            compile(block.replace(path, repr(str(file))).replace("schedule, 16)", "schedule, 2)"), "page", "exec"),
            {"__name__": "page"},
        )
    assert capsys.readouterr().out == "Apache-2.0 (4, 32, 32, 3)\n"
