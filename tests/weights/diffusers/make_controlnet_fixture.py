"""Writes controlnet_fixture.safetensors: a tiny ControlNet of diffusers, what it tells, and its U-Net's answer. Run by
hand:

pip install torch diffusers
PYTHONPATH=. python tests/weights/diffusers/make_controlnet_fixture.py
"""

import json
import pathlib

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

from tests.weights.diffusers.make_text_unets_fixture import SMALL, randomized

UNET = SMALL | {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 2,
    "cross_attention_dim": 6,
}
HINT_CHANNELS = (2, 3, 4)


def main() -> None:
    """The U-Net and its ControlNet, as the one is made from the other, with parameters of their own at random."""
    unet = randomized(diffusers.UNet2DConditionModel(**UNET), 0)
    control = diffusers.ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=HINT_CHANNELS, load_weights_from_unet=False
    )
    control = randomized(control, 1)
    rng = np.random.default_rng(1)
    inputs = {
        "x": rng.normal(size=(2, 8, 4, 4)).astype(np.float32),
        "t": np.float32([37, 981]),
        "tokens": rng.normal(size=(2, 3, 6)).astype(np.float32),
        "hint": rng.uniform(size=(2, 32, 16, 3)).astype(np.float32),
        "scale": np.float32([0.5]),
    }
    arrays = {f"unet/{name}": value.half().numpy() for name, value in unet.state_dict().items()}
    arrays |= {f"control/{name}": value.half().numpy() for name, value in control.state_dict().items()}
    tensors = {name: torch.from_numpy(value).double() for name, value in inputs.items()}
    x, hint = (tensors[name].permute(0, 3, 1, 2) for name in ("x", "hint"))
    with torch.inference_mode():
        skips, middle = control.double()(
            x, tensors["t"], tensors["tokens"], controlnet_cond=hint, conditioning_scale=0.5, return_dict=False
        )
        output = unet.double()(
            x,
            tensors["t"],
            tensors["tokens"],
            down_block_additional_residuals=skips,
            mid_block_additional_residual=middle,
        ).sample
    outputs = {f"told/{number}": value for number, value in enumerate((*skips, middle, output))}
    arrays |= {name: np.ascontiguousarray(value.permute(0, 2, 3, 1).float().numpy()) for name, value in outputs.items()}
    arrays |= {f"inputs/{name}": value for name, value in inputs.items()}
    configs = {"unet": json.loads(unet.to_json_string()), "control": json.loads(control.to_json_string())}
    about = {
        "made_by": f"diffusers {diffusers.__version__}, torch {torch.__version__}, float64",
        "configs": json.dumps(configs),
    }
    save_file(arrays, pathlib.Path(__file__).with_name("controlnet_fixture.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
