"""Whatever is wrong with a folder of Z-Image or FLUX.2 [klein], whose prompts a language model reads, is one error that
begins with a path, and nothing is loaded.
"""

import pytest

from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.pipelines.stable_diffusion import open_model
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.folder_faults import STEM, arrays, changed, without
from tests.pipelines.stable_diffusion.refused_folder import refuse
from tests.tables import table

pytest.importorskip("tokenizers", reason="needs the extra [text]")
pytest.importorskip("jinja2", reason="needs the extra [language]")

MISMATCH = CheckpointMismatchError
LAST, OF_WORDS = "model.layers.2.mlp.up_proj.weight", "cap_embedder.1.weight"
BAD_Z_IMAGE = {
    "a text encoder without the block behind what is read": (
        arrays("text_encoder", "model", without(LAST)),
        f"text_encoder: 1 missing or of another shape: {LAST}",
        MISMATCH,
    ),
    "a text encoder of one block": (changed("text_encoder", num_hidden_layers=1), "num_hidden_layers = 1", DataError),
    "a text encoder of another class": (
        changed("text_encoder", architectures=["LlamaModel"]),
        "text_encoder/config.json: .*architectures",
        DataError,
    ),
    "a sliding window": (
        changed("text_encoder", use_sliding_window=True, max_window_layers=0),
        "use_sliding_window = True",
        DataError,
    ),
    "blocks without end": (changed("transformer", n_layers=10**9), "n_layers = 1000000000 is more than its", DataError),
    "pictures that are read": (changed("transformer", siglip_feat_dim=8), "siglip_feat_dim = 8", DataError),
    "other heads of keys": (changed("transformer", n_kv_heads=1), "n_kv_heads = 1 is not supported, only", DataError),
    "axes that do not fill a head": (changed("transformer", axes_dims=[4, 4, 6]), "axes_dims = ", DataError),
    "a tokenizer without a template": (
        changed("tokenizer", "tokenizer_config.json", chat_template=...),
        "tokenizer: .*no chat_template",
        DataError,
    ),
    "a template without a place for the prompt": (
        changed("tokenizer", "tokenizer_config.json", chat_template="hello"),
        "its chat template writes a prompt 0 times",
        DataError,
    ),
    "a template that is none": (
        changed("tokenizer", "tokenizer_config.json", chat_template="{% for %}"),
        "^/.*tokenizer: ",
        DataError,
    ),
    "rows without room": (
        changed("tokenizer", "tokenizer_config.json", model_max_length=19),
        "a row of 19 tokens has no room for a prompt",
        DataError,
    ),
}
BAD_FLUX_2 = {
    "a text encoder without blocks to read": (
        changed("text_encoder", num_hidden_layers=27),
        r"num_hidden_layers = 27 is not supported, blocks \(9, 18, 27\) are read",
        DataError,
    ),
    "an autoencoder without numbers of latents": (
        arrays("vae", STEM, without("bn.running_mean")),
        "vae: .*1 missing: bn.running_mean",
        MISMATCH,
    ),
    "patches of another size": (changed("vae", patch_size=[1, 1]), r"patch_size = \(1, 1\)", DataError),
    "axes that do not fill a head": (changed("transformer", axes_dims_rope=[2, 2, 2, 4]), "axes_dims_rope", DataError),
}
UNFIT = {
    "texts of another language model": (
        "z_image",
        changed("transformer", cap_feat_dim=8),
        "transformer: reads texts of 8 channels, and the text encoders have 12",
    ),
    "a longer message than the language model reads": (
        "z_image",
        changed("text_encoder", max_position_embeddings=32),
        "text_encoder: does not fit its tokenizer, which has .* 40 tokens",
    ),
}


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table("change, message, error", BAD_Z_IMAGE.values())
def test_whatever_is_wrong_is_one_error_that_begins_with_a_path(tmp_path, change, message, error):
    refuse(tmp_path, "z_image", change, message, error)


@pytest.mark.slow
@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table("change, message, error", BAD_FLUX_2.values())
def test_whatever_is_wrong_with_klein_is_one_error_that_begins_with_a_path(tmp_path, change, message, error):
    refuse(tmp_path, "flux_2", change, message, error)


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table("name, change, message", UNFIT.values())
def test_parts_that_do_not_fit_each_other_are_refused(tmp_path, name, change, message):
    folder = tiny_folders.write(tmp_path / "model", name)
    change(folder)
    with pytest.raises(DataError, match=f"^{folder}.*{message}"):
        open_model(folder)
