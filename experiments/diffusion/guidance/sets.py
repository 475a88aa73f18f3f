"""Every set of samples of the guidance experiment, drawn and measured: what the claims, tables and figures are made
of.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.diffusion import sweeps
from experiments.diffusion.guidance import measures, networks
from experiments.diffusion.guidance.config import MODERATE, STRONG, Config
from experiments.diffusion.image_draws import Draws, Rule, classifier_free
from experiments.diffusion.sweeps import Sweep
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.diffusion import guidance
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

LOW, HIGH = 0.2, 3.0
"""Noise levels sigma/alpha between which the rule "interval" guides."""
RESCALE = 0.7
"""phi of the rule "rescale", the paper's."""

CURES: Mapping[str, Rule] = {
    "interval": lambda conditioned, absent, _, scale: guidance.classifier_free(
        conditioned, absent, guidance.interval(scale, LOW, HIGH), batched=True
    ),
    # guided samples get back most of the conditional one's deviation
    "rescale": lambda conditioned, absent, _, scale: guidance.classifier_free(
        conditioned, absent, scale, batched=True, rescale=RESCALE
    ),
    # its scale lies in [0, 1]
    "CFG++": lambda conditioned, absent, _, scale: guidance.cfg_plus_plus(conditioned, absent, scale, batched=True),
    # without momentum, and without a bound on the norm
    "APG": lambda conditioned, absent, _, scale: guidance.adaptive_projected(conditioned, absent, scale, batched=True),
    # away from a smaller network that was trained for less time
    "autoguidance": lambda conditioned, _, weaker, scale: guidance.autoguidance(conditioned, weaker, scale),
    "thresholding": lambda conditioned, absent, weaker, scale: guidance.dynamic_threshold(
        classifier_free(conditioned, absent, weaker, scale)
    ),
}
"""The cures that are said to keep what guidance loses."""
RULES: Mapping[str, Rule] = {
    "plain": classifier_free,
    # the null control: both predictions are without a label, so there is nothing to guide by
    "deaf": lambda conditioned, absent, _, scale: guidance.classifier_free(absent, absent, scale),
    **CURES,
}


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name, learning in (("digits", config.digits), ("shapes", config.shapes), ("weaker", config.weaker)):
        image_training.check(learning, f"{name}.", images=config.scenes if name == "shapes" else image_training.IMAGES)
    for option, values in (
        ("scales", config.scales),
        ("cure-scales", config.cure_scales),
        ("renoised-scales", config.renoised_scales),
    ):
        ranges.rising(option, values)
    ranges.known("cures", config.cures, CURES)
    for needed in ("interval", "rescale"):
        ranges.among("cures", needed, "cures", config.cures)
    for scale in (1.0, MODERATE, STRONG, *((0.0,) if "CFG++" in config.cures else ())):
        ranges.among("scales", scale, "scales", config.scales)
    ranges.among("cure-scales", STRONG, "cure-scales", config.cure_scales)
    ranges.at_most("cure-samples", config.cure_samples, "samples", config.samples)
    ranges.at_most("shown", config.shown, "samples", min(config.samples, config.shape_samples))
    for steps in config.explored_steps:
        ranges.at_most("explored-steps", steps, "sampling-steps", config.sampling_steps)


@dataclass(frozen=True)
class DrawnSets:
    """plain, deaf: of each subject. cures, short: of digits, by rule; short is plain guidance of as many samples as a
    cure.

    dropouts: by the share, one seed each. shuffled: of the network that learned shuffled labels. shown: of each subject
    the first images of the first seed, (scales, n, h, w, c). explored: of each subject (scales, steps, seeds, n, h, w,
    c).
    """

    plain: Mapping[str, Sweep]
    deaf: Mapping[str, Sweep]
    cures: Mapping[str, Sweep]
    short: Sweep
    dropouts: Mapping[float, Sweep]
    shuffled: Sweep
    shown: Mapping[str, np.ndarray]
    explored: Mapping[str, np.ndarray]


def draw(config: Config, folder: RunFolder, progress: Progress) -> DrawnSets:
    """From the checkpoints of the folder."""
    with progress.phase("sample digits"):
        digits = _Drawn(config, networks.DIGITS, measures.of_digits(), config.together, folder, progress)
        plain, short, grids = digits.plain(config.samples, config.cure_samples)
        deaf = digits.deaf(config.control_samples)
        cures = digits.cures(short)
        shares = {share: digits.other(name) for share, name in networks.dropouts(config).items()}
        shuffled = digits.other(networks.SHUFFLED)
    with progress.phase("sample shapes"):
        shapes = _Drawn(config, networks.SHAPES, measures.of_shapes(config), config.shapes_together, folder, progress)
        plain_shapes, _, shown_shapes = shapes.plain(config.shape_samples, config.shape_samples)
        deaf_shapes = shapes.deaf(config.shape_samples)
    with progress.phase("explore"):
        explored = {"digits": digits.explored(), "shapes": shapes.explored()}
    return DrawnSets(
        plain={"digits": plain, "shapes": plain_shapes},
        deaf={"digits": deaf, "shapes": deaf_shapes},
        cures=cures,
        short=short,
        dropouts=dict(sorted((shares | {config.digits.drop_condition: plain.seed(0)}).items())),
        shuffled=shuffled,
        shown={"digits": grids, "shapes": shown_shapes},
        explored=explored,
    )


class _Drawn:
    """Networks of one data set, the program that draws from them, and the subject that judges."""

    def __init__(
        self, config: Config, name: str, subject: measures.Subject, together: int, folder: RunFolder, progress: Progress
    ) -> None:
        self._config, self._subject, self._folder = config, subject, folder
        # nothing on shapes uses the weaker network
        model, weaker = (networks.model(config, each) for each in (name, networks.WEAKER))
        self._draw = Draws(model, config.sampling_steps, together, progress, second=weaker)
        self._params = self._restored(name, config.seeds)

    def plain(self, count: int, fewer: int) -> tuple[Sweep, Sweep, np.ndarray]:
        """The sweep over all scales, that of the first `fewer` samples, and the images of the first seed that are
        shown.
        """
        scales, sets = self._config.scales, list(self._images("plain", count, self._config.scales))
        spread = np.arange(self._config.shown) * max(1, self._subject.classes // self._config.shown)  # of all classes
        all_sets = self._sweep(scales, sets)
        few = (
            all_sets
            if fewer == count
            else self._sweep(scales, [[images[:fewer] for images in of_seed] for of_seed in sets])
        )
        return all_sets, few, np.stack(sets[0])[:, spread]

    def deaf(self, count: int) -> Sweep:
        """Without labels, at the scales at which faithfulness is claimed to grow."""
        scales = self._config.faithful_scales(self._subject.name)
        return self._sweep(scales, self._images("deaf", count, scales))

    def cures(self, plain: Sweep) -> dict[str, Sweep]:
        """Each rule at its own scales, after the one where it does nothing: plain guidance's 1, or 0 for CFG++;
        thresholding has none.
        """
        config, sweeps = self._config, {}
        weaker = self._restored(networks.WEAKER, config.seeds)
        for rule in config.cures:
            start, scales = (0.0, config.renoised_scales) if rule == "CFG++" else (1.0, config.cure_scales)
            swept = self._sweep(scales, self._images(rule, config.cure_samples, scales, weaker=weaker))
            sweeps[rule] = swept if rule == "thresholding" else plain.at_scales([start]).followed_by(swept)
        return sweeps

    def other(self, name: str) -> Sweep:
        """The sweep of a network of the first seed that lies in its own folder."""
        seed, scales = self._config.seeds[0], self._config.scales
        return self._sweep(
            scales,
            self._images("plain", self._config.samples, scales, network=name, params=self._restored(name, [seed])),
        )

    def explored(self) -> np.ndarray:
        """(scales, steps, seeds, n, h, w, c): the same noise under every guidance, number of steps and seed."""
        count, scales = self._config.explored, self._config.scales
        return np.stack(
            [np.stack([*self._images("plain", count, scales, steps=n)], 1) for n in self._config.explored_steps], 1
        )

    def _restored(self, name: str, seeds: Sequence[int]) -> dict[int, Params]:
        return {seed: networks.restore(self._config, self._folder, name, seed) for seed in seeds}

    def _sweep(self, scales: Sequence[float], sets: Iterable[Sequence[np.ndarray]]) -> Sweep:
        return sweeps.sweep(scales, [[self._subject.rows(images) for images in of_seed] for of_seed in sets])

    def _images(
        self,
        rule: str,
        count: int,
        scales: Sequence[float],
        *,
        network: str = "",
        params: Mapping[int, Params] | None = None,
        weaker: Mapping[int, Params] | None = None,
        steps: int | None = None,
    ) -> Iterator[list[np.ndarray]]:
        """For each seed the images at each scale. network: a name for `params`, which are by seed; None takes those of
        the subject.
        """
        for seed, of_seed in (params or self._params).items():
            title = ", ".join(
                filter(None, [self._subject.name, network, rule, f"seed {seed}", f"{steps} steps" if steps else ""])
            )
            draw = functools.partial(
                self._draw, params=of_seed, count=count, rule=RULES[rule], second=(weaker or {}).get(seed), steps=steps
            )
            yield [draw(f"{title}, scale {scale:g}", scale=scale) for scale in scales]
