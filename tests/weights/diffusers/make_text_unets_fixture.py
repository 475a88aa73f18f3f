"""Writes text_unets_fixture.safetensors: tiny U-Nets of diffusers that read texts, their inputs and outputs. Run by
hand:

pip install torch diffusers
python tests/weights/diffusers/make_text_unets_fixture.py
"""

import json
import pathlib

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

SMALL = {
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "sample_size": 8,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
}
MODELS = {
    "Stable Diffusion 1": SMALL
    | {
        "in_channels": 9,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
        "cross_attention_dim": 6,
    },
    "Stable Diffusion 2": SMALL
    | {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (1, 4),
        "cross_attention_dim": 5,
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "Stable Diffusion XL": SMALL
    | {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (1, 2),
        "cross_attention_dim": 10,
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 6 * 256 + 7,
    },
}


def randomized(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every parameter at random, so that those which start at 0 count too, and as a float16; outputs are near 1 in
    size.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = "norm" in name and name.endswith("weight") and value.ndim == 1
            spread = 0.1 if value.ndim == 1 else (value[0].numel() ** -0.5)
            value.copy_((spread * torch.randn(value.shape, generator=generator) + (1.0 if scale else 0.0)).half())
    return model.eval()


def inputs(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Samples with channels last, times, tokens; for XL a pooled text and the six numbers of a size too."""
    rng, config = np.random.default_rng(1), model.config
    result = {
        "x": rng.normal(size=(2, 8, 4, config.in_channels)).astype(np.float32),
        "t": np.float32([37, 981]),
        "tokens": rng.normal(size=(2, 3, config.cross_attention_dim)).astype(np.float32),
    }
    if config.addition_embed_type is not None:
        result["pooled"] = rng.normal(size=(2, 7)).astype(np.float32)
        result["size"] = np.float32([[512, 640, 0, 16, 1024, 768], [64, 48, 3, 0, 256, 320]])
    return result


def main() -> None:
    arrays, configs = {}, {}
    for seed, (name, settings) in enumerate(MODELS.items()):
        model = randomized(diffusers.UNet2DConditionModel(**settings), seed)
        configs[name] = json.loads(model.to_json_string())
        arrays |= {f"{name}/{part}": value.half().numpy() for part, value in model.state_dict().items()}
        values = inputs(model)
        arrays |= {f"{name} inputs/{part}": value for part, value in values.items()}
        tensors = {part: torch.from_numpy(value).double() for part, value in values.items()}
        added = {"text_embeds": tensors["pooled"], "time_ids": tensors["size"]} if "pooled" in values else None
        with torch.inference_mode():
            result = model.double()(
                tensors["x"].permute(0, 3, 1, 2), tensors["t"], tensors["tokens"], added_cond_kwargs=added
            ).sample
        arrays[f"{name} output"] = np.ascontiguousarray(result.permute(0, 2, 3, 1).float().numpy())
    about = {
        "made_by": f"diffusers {diffusers.__version__}, torch {torch.__version__}, float64",
        "configs": json.dumps(configs),
    }
    save_file(arrays, pathlib.Path(__file__).with_name("text_unets_fixture.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
