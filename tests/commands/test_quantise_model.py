"""The command `quantise` on a small model of the family of Llama in a GGUF file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import catalogue
from gendiff import networks
from gendiff.commands import command_line
from gendiff.commands.chat import models
from gendiff.core import trees
from gendiff.weights import gguf, gguf_llama
from tests.language import test_tokens
from tests.tables import table
from tests.weights import rig
from tests.weights.quantised import gguf_files

pytest.importorskip("gguf", reason="needs the extra [language]")

METADATA = {
    "general.architecture": "llama",
    "llama.context_length": 32,
    "llama.embedding_length": 32,
    "llama.block_count": 1,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}
TOKENS = np.arange(16, dtype=np.int32)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and texts."""
    path = tmp_path_factory.mktemp("quantise")
    metadata = METADATA | test_tokens.metadata()
    size = len(metadata["tokenizer.ggml.tokens"])
    raw = np.zeros((size, 128), np.uint8)
    stand_in = gguf.Gguf(metadata, {"token_embd.weight": gguf.Packed("F32", (size, 32), raw)})
    network = networks.LanguageModel(**gguf_llama.network_fields(stand_in))
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS))
    _, theirs = rig.random_pair(like, gguf_llama.rules(stand_in))
    (path / "model.gguf").write_bytes(gguf_files.gguf_bytes(metadata, theirs))
    (path / "texts").mkdir()
    for number in range(3):
        (path / "texts" / f"{number}.txt").write_text(f"{number} aquatic quizzes, " * 200)
    return path


def quantise(*words):
    return command_line.main(["quantise", *map(str, words)], catalogue.EXPERIMENTS)


def test_a_model_becomes_a_file_of_4_bits_that_chat_reads_packed(folder, capsys):
    small = folder / "small.gguf"
    assert quantise(folder / "model.gguf", "--out", small, "--text", folder / "texts") == 0
    assert "bits per weight" in capsys.readouterr().out
    before, after = (gguf.load(folder / name) for name in ("model.gguf", "small.gguf"))
    assert before.metadata.keys() == after.metadata.keys() and before.tensors.keys() == after.tensors.keys()
    kinds = {name: tensor.kind for name, tensor in after.tensors.items()}
    assert kinds["token_embd.weight"] == "Q8_0" and kinds["output_norm.weight"] == "F32"
    assert kinds["blk.0.attn_k.weight"] == kinds["blk.0.ffn_down.weight"] == "Q4_0"
    unpacked, packed = (models.opened(str(small), each) for each in ("float32", "packed"))
    exact = models.opened(str(folder / "model.gguf"))
    logits = [networks.pure(each.network)(each.params, jnp.asarray(TOKENS)).logits for each in (unpacked, packed)]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.02 * np.std(logits[0]))
    stored, original = (trees.paths(each.params) for each in (unpacked, exact))
    lost = {path: np.sqrt(np.mean((stored[path] - leaf) ** 2) / np.mean(leaf**2)) for path, leaf in original.items()}
    assert 0.05 < lost["block_0/qkv/kernel"] < 0.25 and 0.05 < lost["block_0/mlp_1/kernel"] < 0.25
    assert 0.002 < lost["token"] < 0.01 and lost["output_norm/scale"] == 0


@table(
    "words, message",
    [
        (("--out", "small.txt"), "must be a new .gguf file"),
        (("--out", "texts/none/small.gguf"), "in a folder that is there"),
        (("--out", "model.gguf"), "must be a new .gguf file"),
        (("--out", "a.gguf", "--rows", "0"), "--rows 0 is outside"),
        (("--out", "a.gguf", "--text", "short.txt"), "none of 1 texts has 512 tokens"),
    ],
)
def test_what_cannot_be_written_or_calibrated_is_refused(words, message, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "short.txt").write_text("short")
    assert quantise("model.gguf", *words) in (2, 65) and message in capsys.readouterr().err
    assert not (folder / "a.gguf").exists()


def test_a_folder_of_transformers_has_no_metadata_to_keep(folder, capsys):
    with pytest.raises(models.ConfigError, match="is a folder"):
        models.gguf_file(str(folder))
