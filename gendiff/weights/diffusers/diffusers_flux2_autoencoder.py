"""`AutoencoderKLFlux2` of diffusers as `networks.PatchNormedAutoencoder`: fields and rules."""

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights import rules as naming
from gendiff.weights.diffusers import diffusers_autoencoder, diffusers_blocks
from gendiff.weights.diffusers.diffusers_autoencoder import DOWN, UP
from gendiff.weights.rules import Rule

KIND = "AutoencoderKLFlux2"
OTHERS: Config = {
    "down_block_types": (DOWN,) * 4,
    "up_block_types": (UP,) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 32,
    "sample_size": 1024,
}
"""Defaults that `AutoencoderKL` has otherwise."""
NORM: Config = {
    "decoder_block_out_channels": None,
    "batch_norm_eps": 1e-4,
    "batch_norm_momentum": 0.1,  # of training
    "patch_size": (2, 2),
}
LACKING = ("scaling_factor", "shift_factor", "latents_mean", "latents_std", "force_upcast")
"""Settings of `AutoencoderKL` that this class has none of."""
COUNTER = "bn.num_batches_tracked"


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.PatchNormedAutoencoder` for the model of a config.json.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    norm = settings.from_config(
        {name: value for name, value in config.items() if name in NORM or name == "_class_name"},
        (KIND,),
        NORM,
        {"patch_size": ((2, 2),), "decoder_block_out_channels": (None,)},
        {},
    )
    epsilon = norm["batch_norm_eps"]
    settings.refuse_unless(epsilon >= 0, KIND, "batch_norm_eps", epsilon, "it must be at least 0")
    for name in LACKING:
        settings.refuse_unless(name not in config, KIND, name, config.get(name), "there is no such setting")
    return {**diffusers_autoencoder.network_fields(_plain(config)), "variance_epsilon": float(epsilon)}


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    network_fields(config)
    order = layouts.PackedOutputs(2)
    return (
        *diffusers_autoencoder.rules(_plain(config)),
        Rule("latent_mean", ("bn.running_mean",), order),
        Rule("latent_variance", ("bn.running_var",), order),
    )


def unused(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shapes, by name, of arrays that no output depends on."""
    return {COUNTER: ()}


def _plain(config: Config) -> Config:
    """As one of an `AutoencoderKL` whose latents are not normalised."""
    rest = {name: value for name, value in config.items() if name not in NORM and not name.startswith("_")}
    return {**OTHERS, **rest, "scaling_factor": 1.0}


params = naming.Conversion(rules, lambda _, arrays: diffusers_blocks.renamed(arrays), unused)
