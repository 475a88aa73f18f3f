"""Rules that models of diffusers share: for blocks, for a U-Net and its settings, and for former names of attention."""

from collections.abc import Callable

from gendiff.core.types import Config
from gendiff.weights import layouts, settings
from gendiff.weights.rules import Arrays, Rule, convolution, linear, norm

FORMER_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def residual(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for a `ResnetBlock2D`, which is `networks.blocks.residual_block.ResidualBlock`."""
    return (
        *norm(f"{theirs}.norm1", f"{ours}/norm_0"),
        *convolution(f"{theirs}.conv1", f"{ours}/convolution_0"),
        *linear(f"{theirs}.time_emb_proj", f"{ours}/embedding"),
        *norm(f"{theirs}.norm2", f"{ours}/norm_1"),
        *convolution(f"{theirs}.conv2", f"{ours}/convolution_1"),
        *linear(f"{theirs}.conv_shortcut", f"{ours}/shortcut", layouts.Patches(1)),
    )


def attention(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for an `Attention` over the pixels of a map, which is `networks.attention.ImageAttention`."""
    return (
        *norm(f"{theirs}.group_norm", f"{ours}/norm"),
        *linear(f"{theirs}.to_q {theirs}.to_k {theirs}.to_v", f"{ours}/qkv"),
        *linear(f"{theirs}.to_out.0", f"{ours}/output"),
    )


def transformer(theirs: str, ours: str, projection: layouts.Layout = layouts.LINEAR) -> tuple[Rule, ...]:
    """Rules for a `Transformer2DModel` over a map, which is `networks.image_transformer.ImageTransformer`.

    Args:
        theirs: its name.
        ours: the path of ours.
        projection: the layout of its first and last layer, which are linear layers or convolutions of single pixels.
    """
    block, layer = f"{theirs}.transformer_blocks.{{layer}}", f"{ours}/block_{{layer}}"
    gate = layouts.SwappedOutputs()  # theirs comes second
    return (
        *norm(f"{theirs}.norm", f"{ours}/norm"),
        *linear(f"{theirs}.proj_in", f"{ours}/input", projection),
        *norm(f"{block}.norm1", f"{layer}/norm_0"),
        *linear(f"{block}.attn1.to_q {block}.attn1.to_k {block}.attn1.to_v", f"{layer}/qkv"),
        *linear(f"{block}.attn1.to_out.0", f"{layer}/output"),
        *norm(f"{block}.norm2", f"{layer}/norm_cross"),
        *linear(f"{block}.attn2.to_q", f"{layer}/cross_query"),
        *linear(f"{block}.attn2.to_k {block}.attn2.to_v", f"{layer}/cross_key_value"),
        *linear(f"{block}.attn2.to_out.0", f"{layer}/cross_output"),
        *norm(f"{block}.norm3", f"{layer}/norm_1"),
        Rule(f"{layer}/mlp_0/kernel", (f"{block}.ff.net.0.proj.weight",), gate),
        Rule(f"{layer}/mlp_0/bias", (f"{block}.ff.net.0.proj.bias",), gate),
        *linear(f"{block}.ff.net.2", f"{layer}/mlp_1"),
        *linear(f"{theirs}.proj_out", f"{ours}/output", projection),
    )


def unet(levels: int, cosines_first: bool, attending: Callable[[str, str], tuple[Rule, ...]]) -> tuple[Rule, ...]:
    """Rules for a U-Net, which is `networks.UNet`.

    Args:
        levels: their number.
        cosines_first: whether the embedding of the time begins with cosines, as ours does.
        attending: rules for what stands behind a residual block, by its name and its path: `attention` or
            `transformer`.
    """
    result = [
        *convolution("conv_in", "input"),
        *norm("conv_norm_out", "output_norm"),
        *convolution("conv_out", "output"),
        # sines first is another order of the first layer's inputs
        *linear(
            "time_embedding.linear_1", "embedding/time_0", layouts.LINEAR if cosines_first else layouts.SwappedInputs()
        ),
        *linear("time_embedding.linear_2", "embedding/time_1"),
        Rule("embedding/label", ("class_embedding.weight",)),
        *residual("mid_block.resnets.{block}", "middle_{block}"),
        *attending("mid_block.attentions.0", "middle_attention"),
    ]
    for level in range(levels):
        for theirs, ours, sampler in (
            (f"down_blocks.{level}", f"down_{level}", "downsamplers"),
            (f"up_blocks.{levels - 1 - level}", f"up_{level}", "upsamplers"),
        ):
            result += residual(f"{theirs}.resnets.{{block}}", f"{ours}_{{block}}")
            result += attending(f"{theirs}.attentions.{{block}}", f"{ours}_{{block}}_attention")
            result += residual(f"{theirs}.{sampler}.0", f"{ours}_resize")
            result += convolution(f"{theirs}.{sampler}.0.conv", f"{ours}_resize/convolution")
    return tuple(result)


def unet_fields(kind: str, values: Config, down_types: tuple[str, ...], up_types: tuple[str, ...]) -> Config:
    """Return the fields of `networks.UNet` that follow from settings which all U-Nets have.

    Args:
        kind: the class.
        values: its settings, as `settings.from_config` returns them.
        down_types: the blocks of the way down that can be followed; the first one attends.
        up_types: those of the way up.

    Raises:
        ConfigError: unless both ways attend at the same levels by such blocks, the time embedding is four times as wide
            as the first level, and there is a class beside the last, which is that of NO_LABEL.
    """
    channels, down, up = values["block_out_channels"], values["down_block_types"], values["up_block_types"]
    fits = bool(channels) and min(channels) > 0
    settings.refuse_unless(fits, kind, "block_out_channels", channels, "positive numbers, one per level, are needed")
    for name, kinds in (("down_block_types", down_types), ("up_block_types", up_types)):
        fits = len(values[name]) == len(channels) and set(values[name]) <= set(kinds)
        settings.refuse_unless(fits, kind, name, values[name], f"one of {', '.join(kinds)} per level")
    mirrored = [name == down_types[0] for name in down] == [name == up_types[0] for name in reversed(up)]
    settings.refuse_unless(
        mirrored, kind, "up_block_types", up, f"attention must stand at the levels of down_block_types = {down!r}"
    )
    width, classes = values["time_embedding_dim"], values["num_class_embeds"]
    settings.refuse_unless(
        width in (None, 4 * channels[0]),
        kind,
        "time_embedding_dim",
        width,
        f"only {4 * channels[0]}, four times the first level's",
    )
    settings.refuse_unless(
        classes is None or classes > 1, kind, "num_class_embeds", classes, "at least 2: the last is that of NO_LABEL"
    )
    return {
        "channels": channels,
        "blocks": values["layers_per_block"],
        "attention": (),
        "attention_levels": tuple(level for level, name in enumerate(down) if name == down_types[0]),
        "groups": values["norm_num_groups"],
        "modulation": {"default": "shift", "scale_shift": "scale_shift"}[values["resnet_time_scale_shift"]],
        "dropout": values["dropout"],
        "num_classes": None if classes is None else classes - 1,
        "out_channels": values["out_channels"],
        "epsilon": values["norm_eps"],
        "downsample_padding": values["downsample_padding"],
        "frequency_shift": int(values["freq_shift"]),
    }


def renamed(arrays: Arrays) -> Arrays:
    """Return the arrays with the present names of attention layers in place of those before diffusers 0.13."""

    def now(name: str) -> str:
        head, former, leaf = (*name.rsplit(".", 2), "", "")[:3]
        return f"{head}.{FORMER_NAMES[former]}.{leaf}" if ".attentions." in name and former in FORMER_NAMES else name

    return {now(name): array for name, array in arrays.items()}
