"""The recipes: what each changes of plain training, and of which network; the numbers, networks, losses and parameters
of all.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax

from gendiff import networks
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Loss, Metrics, Params
from gendiff.data import digits
from gendiff.diffusion import alignment, immiscible, objectives, parameterization, schedules, weighting
from gendiff.diffusion.types import Batch
from gendiff.runs.ranges import Count, Distinct, Positive, Seed

UNET, DIT = "U-Net", "DiT"
BASES = (UNET, DIT)
"""Plain training: the squared error of the velocity with a uniform weight, at levels spread evenly in u."""
LOGIT_NORMAL, MIN_SNR, IMMISCIBLE = "logit-normal levels", "min-SNR weights", "immiscible noise"
MODERN, ALIGNED, UNTAUGHT = "modern blocks", "alignment (REPA)", "alignment with a network that learned nothing"
MUON, MUON_LOGIT_NORMAL, MUON_DIT = "Muon", "Muon and logit-normal levels", "Muon, on the DiT"
RECIPES = {
    **dict.fromkeys((UNET, LOGIT_NORMAL, MIN_SNR, IMMISCIBLE, MUON, MUON_LOGIT_NORMAL), UNET),
    **dict.fromkeys((DIT, MODERN, ALIGNED, UNTAUGHT, MUON_DIT), DIT),
}
"""By the name in tables the plain training that each changes."""
ALIGNING = (ALIGNED, UNTAUGHT)
"""Those that train a projector too, which does not draw."""
ALIGNMENT = 0.5
"""Weight of the alignment."""
CANDIDATES = 4
"""Of immiscible noise: draws for each digit, the nearest of which is taken."""
GAMMA = 5.0
"""The largest weight of min-SNR."""
HEAD = 16
"""Channels of a head."""
_IMAGE = (1, 8, 8, 1)
_MODERN: dict[str, Any] = {
    "norm": "rms",
    "activation": "silu",
    "gated": True,
    "norm_heads": True,
    "rotary_channels": (HEAD // 2, HEAD // 2),
}


@dataclasses.dataclass(frozen=True)
class Transformer:
    """The DiT, of digits and of the classifier whose features others are aligned with."""

    width: Annotated[int, msgspec.Meta(ge=16, le=4096, multiple_of=16)] = 64
    """Channels of a token; a head has 16."""
    depth: Annotated[int, msgspec.Meta(ge=2, le=64)] = 4
    """Blocks. The tokens in the middle are aligned."""
    learning_rate: Positive = 1e-3
    """Peak learning rate."""
    projector: Count = 128
    """Channels inside of the projector."""
    classifier_steps: Count = 400
    """Optimizer steps of the classifier."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning):
    """The numbers that are turned. `channels` and `learning_rate` are of the U-Net; after its warmup the rate stays at
    its peak.
    """

    seeds: Distinct[Seed] = (0, 1, 2, 3)
    """Seeds that every recipe trains with."""
    control_seeds: Distinct[Seed] = (100, 101, 102, 103)
    """Others, with which plain training is repeated: what no recipe made."""
    train_steps: Count = 1000
    """Optimizer steps at the end, the last of `parts`."""
    parts: Distinct[Count] = (125, 250, 500, 1000)
    """Numbers of steps, ascending, after which the average draws."""
    early: Count = 250
    """Steps at which recipes are claimed to have learned more, one of `parts`."""
    transformer: Transformer = Transformer()
    """Of the recipes that train a DiT."""
    samples: image_training.Balanced = 2000
    """Samples of each set, class-balanced."""
    sampling_steps: Count = 8
    """Steps of UniPC of order 2 on resolved levels."""


def model(config: Config, name: str) -> Model:
    """What a recipe trains and draws with: one object for all recipes of equal networks, so that they share compiled
    programs.
    """
    return _model(config, MODERN if name == MODERN else RECIPES[name])


@functools.lru_cache
def _model(config: Config, name: str) -> Model:
    if name == UNET:
        return image_training.unet(config, schedules.flow(), parameterization.flow())
    network, condition = transformer(config.transformer, name), jnp.zeros(1, jnp.int32)

    def init(key: jax.Array) -> Params:
        return networks.init(network, key, jnp.zeros(_IMAGE), jnp.zeros(1), condition)

    settings: dict[str, Any] = {
        "shape": _IMAGE[1:],
        "num_classes": digits.CLASSES,
        "levels": digits.LEVELS,
        "ema": config.ema,
    }
    return Model(networks.pure(network), init, schedules.flow(), parameterization.flow(), **settings)


def transformer(settings: Transformer, name: str, **fields: Any) -> networks.DiT:
    """The DiT of a recipe. Modern blocks have MLPs of two thirds of the width, so that they cost as much."""
    fields = (
        {"num_classes": digits.CLASSES}
        | fields
        | ({**_MODERN, "mlp_width": settings.width * 8 // 3} if name == MODERN else {})
    )
    return networks.DiT(patch=2, width=settings.width, depth=settings.depth, heads=settings.width // HEAD, **fields)


def optimizer(config: Config, name: str) -> optax.GradientTransformation:
    """Of a recipe; the learning rate stays at its peak, so that a short training is the beginning of a longer one."""
    rate = config.learning_rate if RECIPES[name] == UNET else config.transformer.learning_rate
    kind: image_training.Optimizer = "muon" if name in (MUON, MUON_LOGIT_NORMAL, MUON_DIT) else "adamw"
    return image_training.steady_optimizer(dataclasses.replace(config, learning_rate=rate, optimizer=kind))


def loss(config: Config, name: str, model: Model, features: Callable[[Any], jax.Array] | None = None) -> Loss:
    """(params, key, batch) -> (scalar, metrics). features: clean digits (b, …) -> (b, places, channels), of a recipe
    that aligns.
    """
    options: dict[str, Any] = {"levels": weighting.stratified_levels(), "drop_condition": config.drop_condition}
    changed: dict[str, dict[str, Any]] = {
        LOGIT_NORMAL: {"levels": weighting.logit_normal_levels()},
        MUON_LOGIT_NORMAL: {"levels": weighting.logit_normal_levels()},
        MIN_SNR: {"weight": weighting.min_snr(GAMMA)},
        IMMISCIBLE: {"noise": immiscible.nearest(CANDIDATES)},
    }
    options |= changed.get(name, {})
    if features is None:
        return objectives.denoising(model.predict, model.schedule, model.parameterization, **options)
    settings = config.transformer
    predict = networks.with_intermediate(transformer(settings, name), _middle(settings))
    denoising: Any = objectives.denoising(predict, model.schedule, model.parameterization, **options)
    return alignment.aligned(denoising, networks.pure(_projector(settings)), features, scale=ALIGNMENT)


def init(config: Config, name: str, model: Model) -> Callable[[jax.Array], Params]:
    """Key -> what a recipe trains: the network, and beside it the projector of one that aligns."""
    if name not in ALIGNING:
        return model.init
    settings = config.transformer
    tokens = np.zeros((1, 16, settings.width), np.float32)

    def both(key: jax.Array) -> Params:
        return {
            "network": model.init(key),
            "projector": networks.init(_projector(settings), jax.random.fold_in(key, 1), tokens),
        }

    return both


def drawn_from(name: str, params: Params) -> Params:
    """Of what a recipe trains the part that draws."""
    return params["network"] if name in ALIGNING else params


def init_classifier(config: Config) -> Callable[[jax.Array], Params]:
    """Key -> parameters of the classifier."""
    return lambda key: networks.init(_classifier(config.transformer), key, jnp.zeros(_IMAGE), jnp.zeros(1))


def classifying(config: Config) -> Loss:
    """(params, key, batch) -> (cross-entropy of the labels, metrics): a DiT whose outputs over all places are the
    logits.
    """
    predict = networks.pure(_classifier(config.transformer))

    def loss(params: Params, key: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        logits, (labels,) = scores(predict, params, batch.clean), batch.condition
        correct = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels)), {"accuracy": correct}

    return loss


def accuracy(config: Config, params: Params, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) 1 where the classifier is right."""
    predict = networks.pure(_classifier(config.transformer))
    result = jax.jit(functools.partial(scores, predict))(params, images)
    return (np.argmax(result, axis=-1) == labels).astype(float)


def scores(predict: Callable[..., Any], params: Params, images: Any) -> jax.Array:
    """(b, classes) logits."""
    return jnp.mean(predict(params, images, jnp.zeros(images.shape[0])), axis=(1, 2))


def features(config: Config, params: Params) -> Callable[[Any], jax.Array]:
    """Clean digits (b, 8, 8, 1) -> (b, 16, width): the tokens in the middle of the classifier."""
    settings = config.transformer
    read = networks.with_intermediate(_classifier(settings), _middle(settings))
    return lambda clean: read(params, clean, jnp.zeros(clean.shape[0]))[1]


def _classifier(settings: Transformer) -> networks.DiT:
    return transformer(settings, DIT, num_classes=None, out_channels=digits.CLASSES)


def _projector(settings: Transformer) -> networks.Projector:
    return networks.Projector(settings.width, settings.projector)


def _middle(settings: Transformer) -> str:
    return f"block_{settings.depth // 2 - 1}"
