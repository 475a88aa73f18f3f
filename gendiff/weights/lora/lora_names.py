"""Names of arrays in LoRA files.

The names of kohya, of peft, of diffusers, old and new, of ai-toolkit and of ComfyUI each say a network, a layer and a
role.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from gendiff.weights.diffusers import latent_diffusion

UNET, TRANSFORMER = "unet", "transformer"
TEXT, SECOND_TEXT, THIRD_TEXT = "text_encoder", "text_encoder_2", "text_encoder_3"
DOWN, UP, ALPHA = "lora_down", "lora_up", "alpha"
LATENT, T5 = (UNET, TRANSFORMER), (THIRD_TEXT, SECOND_TEXT)
STARTS = {
    **dict.fromkeys(("lora_unet_", "lora_transformer_", "lycoris_", "diffusion_model."), LATENT),
    **dict.fromkeys(("lora_te_", "lora_te1_", "text_encoders.clip_l.transformer."), (TEXT,)),
    **dict.fromkeys(("lora_te2_", "text_encoders.clip_g.transformer."), (SECOND_TEXT,)),
    **dict.fromkeys(("lora_te3_", "text_encoders.t5xxl.transformer."), T5),
}
"""How a name of kohya or ComfyUI begins -> the networks that it may be of; the first one that is there counts.

The rest is the name of the layer. kohya has "_" in place of each point.
"""
NETWORKS = sorted({network for networks in STARTS.values() for network in networks})
PEFT = "base_model.model."
"""How every name begins in the folder of an adapter of peft, which does not say the network."""
ENDINGS = {
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora_A.default.weight": DOWN,
    ".lora_B.default.weight": UP,
    ".lora_down.weight": DOWN,
    ".lora_up.weight": UP,
    ".lora.down.weight": DOWN,
    ".lora.up.weight": UP,
    ".lora_linear_layer.down.weight": DOWN,
    ".lora_linear_layer.up.weight": UP,
    "_lora.down.weight": DOWN,
    "_lora.up.weight": UP,
    ".down.weight": DOWN,
    ".up.weight": UP,
    ".alpha": ALPHA,
}
"""How a name ends -> what its array is."""
FORMER = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""Layers of text encoders, as diffusers called them before it took the names of peft."""
TOWER = "text_model."
"""How the layers of CLIP's text tower begin in files, and not in a model in memory since transformers 5.6."""
UNSUPPORTED = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "a Tucker decomposition",
    "oft_": "OFT",
    "lora_embedding": "the change of a table",
    ".bias": "the change of a bias",
    ".diff.": "a whole change",
    ".diff_b.": "a whole change",
}
"""Parts of a name with a point behind it -> the kind of change, which is no product of two matrices beside a layer."""
FAMILIES = {
    "double_blocks": "FLUX",
    "single_transformer_blocks": "FLUX",
    "joint_blocks": "Stable Diffusion 3",
    "input_blocks": "Stable Diffusion XL",
    "down_blocks": "Stable Diffusion 1, 2 or XL",
}
"""Parts of a name -> the models that have such layers."""


class Name(NamedTuple):
    """What a name says.

    Attributes:
        network: such as "unet".
        layer: its name in the table: in diffusers, transformers, or the release of its authors.
        role: DOWN, UP or ALPHA.
    """

    network: str
    layer: str
    role: str


def names_of_layers(layers: Iterable[str], others: Mapping[str, str]) -> dict[str, str]:
    """Return every name that a file may call a layer by -> the one that it has here.

    Args:
        layers: those of one network, as "down_blocks.0.attentions.0.proj_in".
        others: what names begin with elsewhere -> in diffusers, as `latent_diffusion.unet_names` gives it: kohya trains
            the U-Net of Stable Diffusion XL in the layout of a single file.
    """
    elsewhere = {name: other for other, name in others.items()}
    table: dict[str, str] = {}
    for layer in layers:
        for name in (layer, layer.removeprefix(TOWER), _elsewhere(layer, elsewhere)):
            table[name] = table[name.replace(".", "_")] = layer
    return table


def read(name: str, tables: Mapping[str, Mapping[str, str]]) -> Name | None:
    """Read a name of a file, or None if it is of no layer or of no kind that is known.

    Args:
        name: of an array.
        tables: network -> its `names_of_layers`.
    """
    ending = max((each for each in ENDINGS if name.endswith(each)), key=len, default=None)
    if ending is None:
        return None
    network, rest = _network(name.removesuffix(ending), tables)
    table = tables.get(network, {})
    layer = next((table[each] for each in _candidates(rest) if each in table), None)
    return None if layer is None else Name(network, layer, ENDINGS[ending])


def remark(name: str, tables: Mapping[str, Mapping[str, str]]) -> str:
    """Say why a name could not be read, in parentheses behind it, where that is known."""
    kind = next((kind for part, kind in UNSUPPORTED.items() if part in f"{name}."), None)
    if kind is not None:
        return f" ({kind}, which is not supported)"
    network, _ = _network(name, tables)
    if network not in tables:
        return f" ({network} was not given)"
    alien = (part for part in FAMILIES if part in name and not any(part in known for known in tables[network]))
    part = next(alien, None)
    return "" if part is None else f" (a layer of {FAMILIES[part]})"


def _network(base: str, tables: Mapping[str, Mapping[str, str]]) -> tuple[str, str]:
    """(network, name of the layer). A name that says no network is of the only one, or of that of latents."""
    for start, networks in STARTS.items():
        if base.startswith(start):
            return _first(networks, tables), base.removeprefix(start)
    for network in sorted({*tables, *NETWORKS}, key=len, reverse=True):
        if base.startswith(f"{network}."):
            return network, base.removeprefix(f"{network}.").removeprefix(PEFT)
    return next(iter(tables)) if len(tables) == 1 else _first(LATENT, tables), base.removeprefix(PEFT)


def _first(networks: tuple[str, ...], tables: Collection[str]) -> str:
    return next((network for network in networks if network in tables), networks[0])


def _candidates(rest: str) -> tuple[str, ...]:
    """What the layer may be called: as it stands, and as now where it is called as formerly."""
    plain = rest.replace(".processor.", ".")
    head, _, last = plain.rpartition(".")
    return plain, f"{plain}.0", f"{head}.{FORMER.get(last, last)}"


def _elsewhere(layer: str, elsewhere: Mapping[str, str]) -> str:
    """The name of a layer whose beginning is another one elsewhere."""
    return latent_diffusion.translated(f"{layer}.weight", elsewhere).removesuffix(".weight")
