"""The numbers of `train`. None stands for what the data and the device suggest; `plan.py` holds these rules."""

import dataclasses
from typing import Annotated, Literal, TypeAlias

import msgspec
import tyro

from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.runs.dtypes import WithDtype
from gendiff.runs.ranges import Byte, Count, Decay, Distinct, Natural, NonNegative, Positive, Seed, Several, Share, Side

OWN = "own"
"""The preset that `train DATA` begins with."""
SETS = ("emoji", "textures")
"""Names of the data that pip brings."""
GAUSSIAN, MEAN, UNTRAINED, ONE_STEP = "a Gaussian of the pixels", "the mean picture", "untrained network", "one step"
"""Controls: sets of pictures beside the samples."""
OTHERS, REAL = "asked for another class", "held-out pictures"
"""What is named beside them: the samples with the label of the next class, and real pictures."""

Within: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Drawn: TypeAlias = Annotated[int, msgspec.Meta(ge=10, le=1_000_000)]
Rate: TypeAlias = Annotated[int, msgspec.Meta(ge=4000, le=192_000)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=60)]


@dataclasses.dataclass(frozen=True)
class Config(FeatureOptions, WithDtype):
    """Every number of the experiment."""

    data: Distinct[str] = SETS
    """What to learn: a folder of pictures or of sounds, an .npz, .npy or .arrayrecord file, a saved Hugging Face
    dataset, emoji or textures.

    Several names train a network each, in a sub-folder of the run each."""
    size: Side | None = None
    """Side of the square pictures in pixels: the shorter side is resized and the centre cropped.

    None: 32 for emoji and textures, 64 for folders and datasets; arrays keep their own. Sounds have so many
    mel bins."""
    mode: Literal["RGB", "L"] | None = None
    """Colour or grey; None is RGB, and arrays keep their channels."""
    sample_rate: Rate | None = None
    """Samples per second at which sounds are learned; others are resampled. None is 16000."""
    seconds: Seconds | None = None
    """Length of the sounds: longer ones are cut, and silence follows shorter ones. None is 64 frames of 256 samples."""
    model: str | None = None
    """Folder of a Stable Diffusion 1, 2 or 3, a FLUX or a Z-Image as diffusers writes it, which learns a change
    from `--data FOLDER` with captions; goes with --lora.

    None: a network of pixels is trained from scratch."""
    lora: Count | None = None
    """Rank of the change that --model learns; 4 to 32 are usual."""
    network: str = "unet-small"
    """unet-small, unet-base, or dit-WIDTH/PATCH with WIDTH tiny, s, b, l or xl and PATCH 2, 4, 8 or 16."""
    remat: Literal["none", "products", "all"] = "none"
    """What the backward pass computes again to save memory: nothing, all but linear layers and convolutions, or all of
    each block.
    """
    conditional: Literal["auto", "none"] = "auto"
    """auto: the class is the sub-folder, if there are 2 or more; none: without classes."""
    least_per_class: Natural = 0
    """Pictures that a class needs; smaller classes are left out. With it emoji have classes: the kinds of things that
    Unicode's list begins its subgroups with, such as animal.
    """
    background: tuple[Byte, Byte, Byte] | None = None
    """Colour under transparent pixels, 0 … 255 each, such as 255 255 255; without one they are an error."""
    on_bad_image: Literal["raise", "skip"] = "raise"
    """skip leaves out pictures that cannot be read, and counts them; raise stops and lists them."""
    cache: str | None = None
    """Folder of decoded pictures that several runs may share, as `prepare images` fills it; None keeps them in the run
    folder.
    """
    held_out: Within | None = None
    """Share of the pictures that is kept from training and judges, in (0, 1).

    None: 500 pictures, at least 5 % and at most 20 % of all. Textures have held-out regions of their own."""
    flip: tyro.conf.FlagCreatePairsOff[bool] = False
    """Mirror half of the training pictures left to right."""
    seeds: Distinct[Seed] = (0,)
    """Seeds of training; each trains a network of its own."""
    steps: Count | None = None
    """Optimizer steps; None goes by data and device."""
    batch: Count | None = None
    """Pictures per step; None goes by data and device."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: Muon on matrices and kernels, and AdamW on the rest. Muon compiles for longer."""
    learning_rate: Positive | None = None
    """Peak learning rate of AdamW, which warms up linearly and falls along a cosine; None: 1e-3 for unet-small and
    dit-tiny, else 2e-4.
    """
    muon_learning_rate: Positive = 0.02
    """The same of Muon."""
    warmup: Count = 100
    """Steps of learning-rate warm-up, until the rate peaks; at most a tenth of all."""
    weight_decay: NonNegative = 0.01
    """Weight decay of matrices and kernels."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    ema: Decay = 0.999
    """Decay per step of the parameter average that is sampled from; the average warms up."""
    ema_snapshots: Natural = 0
    """Snapshots of two further averages, spread evenly over the training, from which `sample RUN --ema LENGTH` makes
    one of any length.
    """
    drop_condition: Share = 0.1
    """Share of labels replaced by the null label in training."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    preview_every: Count | None = None
    """Steps between the grids of samples of progress.html; None: 20 grids in all."""
    previews: Count = 16
    """Samples in such a grid."""
    sampler: str = "dpm_solver_multistep-2"
    """Sampler of previews and of what is judged, by its name in `sample --help`."""
    sampling_steps: Count = 25
    """Steps of the sampler."""
    guidance: NonNegative = 1.0
    """Guidance of previews and of what is judged: 1 is the network as it is, more is more typical of the class."""
    samples: Drawn = 1000
    """Samples that are judged; their classes are drawn as in the training pictures."""
    control_samples: Drawn = 500
    """Samples of each control, at most `samples`."""
    together: Count = 100
    """Samples drawn in one call."""
    judged: Drawn = 20_000
    """Pictures of each side, training and held-out, that are measured at most."""
    draws: Several = 20
    """Draws behind each Fréchet distance, precision and recall."""
    draw_size: Drawn = 400
    """Pictures in a draw, at most."""
    level_pictures: Several = 256
    """Pictures of each side whose denoising error is measured at every noise level."""

    @property
    def controls(self) -> int:
        """How many samples a control has."""
        return min(self.control_samples, self.samples)

    @property
    def of_model(self) -> bool:
        """Whether it is a change of a model that is learned."""
        return self.model is not None or self.lora is not None


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The numbers of a training that the configuration may leave open."""

    steps: int
    batch: int
    learning_rate: float
    preview_every: int


_ACCELERATOR = Config(
    dtype="bfloat16",
    flip=True,
    ema=0.9999,
    weight_decay=0.0,
    checkpoint_every=5000,
    log_every=100,
    preview_every=10_000,
    samples=10_000,
    together=250,
    draw_size=5000,
)
_COMMITTED = Config(
    data=("emoji",),
    least_per_class=50,
    features="classifier",
    flip=True,
    seeds=(0, 1),
    optimizer="muon",
    steps=2800,
    preview_every=700,
    guidance=2.0,
    sampling_steps=16,
    samples=500,
    control_samples=300,
)
PRESETS = {
    "full": _COMMITTED,
    "emoji": _COMMITTED,
    "textures": dataclasses.replace(_COMMITTED, data=("textures",), least_per_class=0),
    OWN: Config(),
    "unet-64": dataclasses.replace(
        _ACCELERATOR, size=64, network="unet-base", batch=128, steps=200_000, learning_rate=2e-4, warmup=5000
    ),
    # Batch, steps, rate, flips and average of Peebles & Xie (2023), with a cosine after the warm-up, which they do
    # without. They train on latents of 32 × 32 in patches of 2. No preset has an autoencoder: these are pixels in
    # patches of 16, which give as many tokens, 256.
    "imagenet-folder-256": dataclasses.replace(
        _ACCELERATOR,
        size=256,
        network="dit-b/16",
        batch=256,
        steps=400_000,
        learning_rate=1e-4,
        warmup=1000,
        remat="products",
    ),
}
"""Name -> configuration. `--network dit-l/16` or `dit-xl/16` makes the last one larger."""
MESHES = {"imagenet-folder-256": "fsdp=all"}
"""Name -> --mesh: each device holds its share of the parameters, averages and moments."""
