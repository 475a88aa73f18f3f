"""Whatever is wrong with a folder of diffusers is one error that begins with a path, and nothing is loaded."""

import json
import pickle

import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.pipelines.stable_diffusion import open_model
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.folder_faults import STEM, arrays, changed, text, without
from tests.pipelines.stable_diffusion.refused_folder import refuse
from tests.tables import table

pytest.importorskip("tokenizers", reason="needs the extra [text]")


def only_a_pickle(folder):
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    (folder / "unet" / f"{STEM}.bin").write_bytes(pickle.dumps({}))


def an_index_of(**places):
    def write(folder):
        (folder / "unet" / f"{STEM}.safetensors").unlink()
        (folder / "unet" / f"{STEM}.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    return write


def small_table(values):
    return values | {TOKEN: np.zeros((3, 8), np.float32)}


CONV, TOKEN = "conv_in.weight", "text_model.embeddings.token_embedding.weight"
MISMATCH = CheckpointMismatchError
BAD = {
    "a missing part": (
        lambda folder: (folder / "vae" / "config.json").unlink(),
        r"vae/config.json: no such file",
        DataError,
    ),
    "a missing shard": (
        an_index_of(**{CONV: f"{STEM}-1-of-1.safetensors"}),
        "of-1.safetensors: no such file",
        DataError,
    ),
    "an index that leaves the folder": (
        an_index_of(**{CONV: "../vae/x.safetensors"}),
        "the name of a file beside it",
        DataError,
    ),
    "an index with a backslash": (
        an_index_of(**{CONV: "..\\x.safetensors"}),
        "the name of a file beside it",
        DataError,
    ),
    "a pickle": (only_a_pickle, rf"unet: has no {STEM}.safetensors; it holds {STEM}.bin; save it", DataError),
    "a file that is none": (text(f"unet/{STEM}.safetensors", "x" * 99), "not a whole safetensors file", DataError),
    "whole numbers": (arrays("unet", STEM, lambda a: a | {CONV: a[CONV].astype(np.int32)}), "holds int32", MISMATCH),
    "an unknown setting": (
        changed("unet", caption_channels=4096),
        "unet/config.json: .* caption_channels = 4096",
        DataError,
    ),
    "a setting without a match": (
        changed("unet", class_embed_type="projection"),
        "class_embed_type = 'projection'",
        DataError,
    ),
    "a setting of another type": (
        changed("vae", latent_channels="4"),
        "vae/config.json: .*latent_channels = '4'",
        DataError,
    ),
    "a size without a width": (
        changed("unet", sample_size=[8]),
        r"sample_size = \[8\] must be a positive number, or two",
        DataError,
    ),
    "a size below 1": (changed("unet", sample_size=-1), "sample_size = -1 must be a positive number", DataError),
    "blocks without end": (
        changed("unet", layers_per_block=10**9),
        "layers_per_block = 1000000000 is more than its",
        DataError,
    ),
    "an autoencoder without levels": (
        changed("vae", block_out_channels=[], down_block_types=[], up_block_types=[]),
        "block_out_channels = .* positive numbers, one per level",
        DataError,
    ),
    "settings that contradict each other": (changed("unet", norm_num_groups=3), "unet/config.json: ", DataError),
    "a class that asks for code": (
        changed("text_encoder", auto_map={"AutoModel": "own.Own"}),
        "auto_map = ",
        DataError,
    ),
    "another class of the same part": (
        changed("text_encoder", architectures=["CLIPModel"]),
        r"architectures = \['CLIPModel'\]",
        DataError,
    ),
    "a configuration that is no JSON": (text("unet/config.json", "{"), "unet/config.json: not JSON", DataError),
    "a field that no scheduler has": (
        changed("scheduler", "scheduler_config.json", own=1),
        "scheduler_config.json: .*own = 1",
        DataError,
    ),
    "a scheduler that thresholds": (
        changed("scheduler", "scheduler_config.json", thresholding=True),
        "latents have no bounds",
        DataError,
    ),
    "a tokenizer without pieces": (
        lambda folder: (folder / "tokenizer/vocab.json").unlink(),
        "vocab.json and merges.txt",
        DataError,
    ),
    "merges of other pieces": (
        text("tokenizer/merges.txt", "q q\nqq q</w>\n"),
        "tokenizer/merges.txt: does not fit",
        DataError,
    ),
    "a tokenizer with more ids": (
        changed("tokenizer", "vocab.json", new=500),
        "does not fit its tokenizer, which has 501 ids",
        DataError,
    ),
    "a longer row": (changed("tokenizer", "tokenizer_config.json", model_max_length=12), "has .* 12 tokens", DataError),
    "an unknown setting of a tokenizer": (
        changed("tokenizer", "tokenizer_config.json", auto_map=1),
        "auto_map = 1",
        DataError,
    ),
}
T5_TABLE, OF_PROMPT = "shared.weight", "context_embedder.weight"
BAD_FLUX = {
    "a text encoder without its table": (
        arrays("text_encoder_2", "model", without(T5_TABLE)),
        f"text_encoder_2: .* 1 missing: {T5_TABLE}",
        MISMATCH,
    ),
    "blocks without end": (
        changed("transformer", num_single_layers=10**9),
        "num_single_layers = 1000000000 is more than its",
        DataError,
    ),
    "a text encoder of version 1.0": (changed("text_encoder_2", feed_forward_proj="relu"), "'relu'", DataError),
    "a tokenizer without pieces": (
        lambda folder: (folder / "tokenizer_2/tokenizer.json").unlink(),
        "tokenizer_2/tokenizer.json: no such file",
        DataError,
    ),
    "a tokenizer of another kind": (
        changed("tokenizer_2", "tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
        "tokenizer_class = 'LlamaTokenizer' is not supported",
        DataError,
    ),
    "a tokenizer without an end": (
        changed("tokenizer_2", "tokenizer_config.json", eos_token="<end>"),
        "eos_token = '<end>' is not in its vocabulary",
        DataError,
    ),
}
OF_IMAGE = "pos_embed.pos_embed"
BAD_SD3 = {
    "a missing third text encoder": (
        lambda folder: (folder / "text_encoder_3" / "model.safetensors").unlink(),
        "text_encoder_3: ",
        DataError,
    ),
    "a table of positions of another size": (
        arrays("transformer", STEM, lambda a: a | {OF_IMAGE: a[OF_IMAGE][:, :9]}),
        r"pos_embed has shape \(1, 9, 16\)",
        MISMATCH,
    ),
    "norms without a match": (changed("transformer", qk_norm="layer_norm"), "qk_norm = 'layer_norm'", DataError),
}
BAD_DIT = {"no patch": (changed("transformer", patch_size=0), "patch_size = 0 .* must be above 0", DataError)}
UNFIT = {
    "texts that are too wide": (
        "sd3",
        changed("transformer", joint_attention_dim=12),
        "transformer: reads texts of 12 channels, and the text encoders have 8 \\+ 8, then 20",
    ),
    "a text of other channels": ("stable", changed("unet", cross_attention_dim=5), "unet: reads texts of 5 channels"),
    "latents of other channels": ("stable", changed("unet", in_channels=5), "unet: has 5 channels in and 4 out"),
    "a text of other channels, of T5": (
        "flux",
        changed("transformer", joint_attention_dim=8),
        "transformer: reads texts of 8 channels, and the text encoders have 12",
    ),
    "a pooled text of other channels": (
        "flux",
        changed("transformer", pooled_projection_dim=12),
        "transformer: reads pooled texts of 12 channels, and the text encoders have 8",
    ),
    "packed latents of other channels": (
        "flux",
        changed("transformer", in_channels=20),
        "transformer: has 5 channels in",
    ),
    "a scheduler of another path": (
        "flux",
        lambda folder: (
            (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(tiny_folders.SCHEDULER)),
            (folder / "model_index.json").write_text(
                json.dumps(tiny_folders.index("flux") | {"scheduler": ["diffusers", "DDIMScheduler"]})
            ),
        ),
        "scheduler_config.json: DDIMScheduler does not follow the straight path of FLUX.1",
    ),
}


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table(
    "name, change, message, error",
    [
        (name, *row)
        for name, rows in (("stable", BAD), ("flux", BAD_FLUX), ("sd3", BAD_SD3), ("dit", BAD_DIT))
        for row in rows.values()
    ],
)
def test_whatever_is_wrong_is_one_error_that_begins_with_a_path(tmp_path, name, change, message, error):
    refuse(tmp_path, name, change, message, error)


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table("name, change, message", UNFIT.values())
def test_parts_that_do_not_fit_each_other_are_refused_before_their_weights_are_looked_at(
    tmp_path, name, change, message
):
    folder = tiny_folders.write(tmp_path / "model", name)
    change(folder)
    with pytest.raises(DataError, match=f"^{folder}.*{message}"):
        open_model(folder)
