"""`text-to-image --mesh`: eight devices that share a model draw what one draws, and none of them holds all of it."""

import json

import pytest

from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.test_packed_weights import WIDE, widened
from tests.training import linear

pytest.importorskip("tokenizers", reason="needs the extra [text]")

LARGE = {
    "CLIPTextModel": {"intermediate_size": 1024},
    "CLIPTextModelWithProjection": {"intermediate_size": 1024},
    "T5EncoderModel": {"d_ff": 1024},
    "Qwen3Model": {"intermediate_size": 1024},
    "Qwen3ForCausalLM": {"intermediate_size": 2048},
    "UNet2DConditionModel": {"block_out_channels": [32, 64]},
    "DiTTransformer2DModel": {"attention_head_dim": 32, "num_attention_heads": 4},
    "ZImageTransformer2DModel": {"dim": 192, "n_heads": 4, "n_kv_heads": 4, "axes_dims": [16, 16, 16]},
    "AutoencoderKL": {"block_out_channels": [64, 64]},
    "AutoencoderKLFlux2": {"block_out_channels": [64, 64]},
}
"""Settings of parts whose layers are large enough to be shared, where `WIDE` has none that eight divides."""
SCRIPT = "import sys; from tests.commands.text_to_image import many_devices; many_devices.main(*sys.argv[1:])"
CASES = {
    "flux": ("fsdp=8", "tensor=8"),
    "flux_2": ("fsdp=8", "tensor=8"),
    "sd3": ("fsdp=4,tensor=2", "tensor=8"),
    "z_image": ("fsdp=8", "tensor=8"),
    "stable": ("data=2,fsdp=4",),
    "xl": ("fsdp=8",),
    "dit": ("fsdp=8",),
}
"""Folder -> meshes of eight devices. With fsdp=8 pictures are drawn one on each, with tensor=8 one by one by
all.
"""
PACKED = {"int4": (0.2, 1e-5), "int8": (0.3, 3e-4)}
"""How kernels are kept -> share of float32 that they may take, and how far pictures may differ: a row that is alone on
its device meets 8 bits by sums of integers, and others by floats.
"""
OPTIONS = {
    "stable": {"guidance": 1.0},
    "xl": {"guidance": 1.0},
    "dit": {"guidance": 1.0, "prompt": "", "label": "7"},
}
"""Of a folder: guidance multiplies what rounding leaves, which random weights make larger."""


def shared_folder(root, name):
    """A folder whose parts have large layers."""
    tiny_folders.write(root, name, lambda part: {})
    for part, config in tiny_folders.FOLDERS[name][2].items():
        wide = WIDE.get(name) if part == "transformer" else None
        if settings := LARGE.get(tiny_folders.kind_of(config), wide):
            widened(root, name, part, settings)
    return root


def eight_devices(folder, options, *meshes):
    """What `many_devices` prints."""
    flags = "--xla_force_host_platform_device_count=8"
    script = linear.python(SCRIPT, folder, json.dumps(options), *meshes, flags=flags)
    return [json.loads(line) for line in linear.finish(script, timeout=1200).splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # programs of eight devices
@pytest.mark.parametrize("name", CASES)
def test_eight_devices_draw_the_pictures_of_one_and_each_holds_its_share_of_the_weights(tmp_path, name):
    folder = shared_folder(tmp_path / name, name)
    rows = eight_devices(folder, OPTIONS.get(name, {}), *CASES[name])
    assert [row["mesh"] for row in rows] == list(CASES[name])
    for row in rows:
        assert_shared(row)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # programs of eight devices
def test_layers_that_eight_does_not_divide_are_shared_by_their_other_axis(tmp_path):
    folder = shared_folder(tmp_path / "z_image", "z_image")
    widened(folder, "z_image", "transformer", WIDE["z_image"])  # its feed-forward layers have 341 units
    (row,) = eight_devices(folder, {}, "tensor=8")
    assert_shared(row)


def assert_shared(row):
    """Pictures are those of one device, and each device holds its share."""
    assert row["difference"] < 1e-5
    share = 4 if "data=2" in row["mesh"] else 8
    for part, (total, largest, most) in row["parts"].items():
        assert most <= total / share + largest, part
        assert most < 2 * total / share, part
    drawing = [sizes for part, sizes in row["parts"].items() if not part.startswith("text")]
    total, largest = sum(sizes[0] for sizes in drawing), max(sizes[1] for sizes in drawing)
    # nothing is gathered for longer than a layer takes
    assert row["programs"][-1][0] <= total / share + largest
    assert row["programs"][-1][1] <= row["alone"][1] + largest


@pytest.mark.slow
@pytest.mark.timeout(1200)  # programs of eight devices
@pytest.mark.parametrize("storage", PACKED)
def test_kernels_that_stay_packed_are_shared_too_and_draw_what_one_device_draws(tmp_path, storage):
    folder = shared_folder(tmp_path / "flux", "flux")
    (row,) = eight_devices(folder, {"storage": storage}, "fsdp=8")
    share, difference = PACKED[storage]
    assert row["difference"] < difference
    total, _, most = row["parts"]["transformer"]
    # as float32 arrays it takes 4 MB; many scales and biases are too small to be split
    assert total < share * 4e6 and most < 0.3 * total
