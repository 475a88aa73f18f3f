"""Writes joint_transformers_fixture.safetensors: tiny SD3 and FLUX transformers and a T5, their inputs and outputs. Run
by hand:

pip install torch diffusers transformers
PYTHONPATH=. python tests/weights/diffusers/make_joint_transformers_fixture.py
"""

import json
import pathlib

import diffusers
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

from tests.weights.diffusers.make_text_unets_fixture import randomized

SMALL = {
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 6,
    "pooled_projection_dim": 5,
}
SD3 = SMALL | {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "caption_projection_dim": 16,
    "pos_embed_max_size": 6,
}
JOINT = {
    "Stable Diffusion 3": (diffusers.SD3Transformer2DModel, SD3),
    "Stable Diffusion 3.5": (
        diffusers.SD3Transformer2DModel,
        SD3 | {"dual_attention_layers": (0,), "qk_norm": "rms_norm"},
    ),
    "FLUX": (
        diffusers.FluxTransformer2DModel,
        SMALL
        | {
            "num_layers": 1,
            "num_single_layers": 2,
            "in_channels": 16,
            "axes_dims_rope": (2, 2, 4),
            "guidance_embeds": True,
        },
    ),
}
T5 = {
    "vocab_size": 24,
    "d_model": 12,
    "d_kv": 4,
    "d_ff": 20,
    "num_layers": 2,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
LENGTH = 70  # long enough for distances that share a class


def rounded(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The model drawn at random, its buffers too, all float16: a table of positions is then none that a formula
    gives.
    """
    model, generator = randomized(model, seed), torch.Generator().manual_seed(100 + seed)
    for buffer in model.buffers():
        buffer.copy_((0.5 * torch.randn(buffer.shape, generator=generator)).half())
    return model


def inputs(config: dict) -> dict[str, np.ndarray]:
    """Samples with channels last, times of 0 to 1000, a text, and for FLUX a guidance scale, so small that its cosines
    are exact.
    """
    rng, channels = np.random.default_rng(1), config["in_channels"] // (4 if "axes_dims_rope" in config else 1)
    result = {
        "x": rng.normal(size=(2, 8, 4, channels)).astype(np.float32),
        "t": np.float32([37, 981]),
        "tokens": rng.normal(size=(2, 3, 6)).astype(np.float32),
        "pooled": rng.normal(size=(2, 5)).astype(np.float32),
    }
    return result | ({"scale": np.float32([0.25, 0.9])} if config.get("guidance_embeds") else {})


def answer(model: torch.nn.Module, values: dict[str, np.ndarray]) -> torch.Tensor:
    """Their output (b, c, h, w), in the precision of the model."""
    tensors = {name: torch.from_numpy(array).double() for name, array in values.items()}
    x, words = (
        tensors["x"].permute(0, 3, 1, 2),
        {"encoder_hidden_states": tensors["tokens"], "pooled_projections": tensors["pooled"]},
    )
    with torch.inference_mode():
        if isinstance(model, diffusers.SD3Transformer2DModel):
            return model(x, timestep=tensors["t"], **words).sample
        batch, channels, height, width = x.shape
        packed = diffusers.FluxPipeline._pack_latents(x, batch, channels, height, width)
        at = diffusers.FluxPipeline._prepare_latent_image_ids(batch, height // 2, width // 2, "cpu", torch.float64)
        more = {"img_ids": at, "txt_ids": torch.zeros(3, 3, dtype=torch.float64), "guidance": tensors.get("scale")}
        tokens = model(packed, timestep=tensors["t"] / 1000, **words, **more).sample
        return diffusers.FluxPipeline._unpack_latents(tokens, height, width, 1)


def main() -> None:
    arrays, configs = {}, {}
    for seed, (name, (build, settings)) in enumerate(JOINT.items()):
        model = rounded(build(**settings), seed)
        configs[name] = json.loads(model.to_json_string())
        values = inputs(configs[name])
        arrays |= {f"{name}/{part}": value.half().numpy() for part, value in model.state_dict().items()}
        arrays |= {f"{name} inputs/{part}": value for part, value in values.items()}
        arrays[f"{name} output"] = np.ascontiguousarray(
            answer(model.double(), values).permute(0, 2, 3, 1).float().numpy()
        )

    encoder = randomized(transformers.T5EncoderModel(transformers.T5Config(**T5)), 10)
    configs["T5"] = json.loads(encoder.config.to_json_string())
    arrays |= {
        f"T5/{part}": value.half().numpy()
        for part, value in encoder.state_dict().items()
        if part != "encoder.embed_tokens.weight"
    }
    ids = np.random.default_rng(2).integers(2, 24, (2, LENGTH)).astype(np.int32)
    visible = np.arange(LENGTH)[None] < np.array([[LENGTH], [LENGTH - 20]])
    arrays |= {"T5 inputs/ids": ids, "T5 inputs/mask": visible.astype(np.uint8)}
    with torch.inference_mode():
        tokens = encoder.double()(
            torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(visible).long()
        ).last_hidden_state
    arrays["T5 output"] = tokens.float().numpy()

    versions = (
        f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch "
        f"{torch.__version__}, float64"
    )
    about = {"made_by": versions, "configs": json.dumps(configs)}
    save_file(arrays, pathlib.Path(__file__).with_name("joint_transformers_fixture.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
