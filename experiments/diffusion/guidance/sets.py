"""Every set of samples of the guidance experiment, drawn and measured: what the claims, tables and figures are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.guidance import cures as guidance_cures
from experiments.diffusion.guidance import measures, networks
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.guidance.cures import Sweep
from experiments.diffusion.guidance.measures import Subject
from experiments.diffusion.guidance.networks import Data
from experiments.diffusion.image_draws import Draws, Rule, classifier_free
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.core.types import Params
from gendiff.diffusion import guidance

LOW, HIGH = 0.2, 3.0
"""Noise levels sigma/alpha between which the rule "interval" guides."""
RESCALE = 0.7
"""phi of the rule "rescale", the paper's."""

CURES: Mapping[str, Rule] = {
    "interval": lambda given, absent, weaker, scale: guidance.classifier_free(
        given, absent, guidance.interval(scale, LOW, HIGH), batched=True
    ),
    # guided samples get back most of the conditional one's deviation
    "rescale": lambda given, absent, weaker, scale: guidance.classifier_free(given, absent, scale, batched=True, rescale=RESCALE),
    # its scale lies in [0, 1]
    "CFG++": lambda given, absent, weaker, scale: guidance.cfg_plus_plus(given, absent, scale, batched=True),
    # without momentum, and without a bound on the norm
    "APG": lambda given, absent, weaker, scale: guidance.adaptive_projected(given, absent, scale, batched=True),
    # away from a smaller network that was trained for less time
    "autoguidance": lambda given, absent, weaker, scale: guidance.autoguidance(given, weaker, scale),
    "thresholding": lambda given, absent, weaker, scale: guidance.dynamic_threshold(classifier_free(given, absent, weaker, scale)),
}
"""The cures that are said to keep what guidance loses."""
RULES: Mapping[str, Rule] = {
    "plain": classifier_free,
    # the null control: both predictions are without a label, so there is nothing to guide by
    "deaf": lambda given, absent, weaker, scale: guidance.classifier_free(absent, absent, scale),
    **CURES,
}


@dataclass(frozen=True)
class DrawnSets:
    """plain, deaf: of each subject. cures, short: of digits, by rule; short is plain guidance of as many samples as a cure.

    dropouts: by the share, one seed each. shuffled: of the network that learned shuffled labels. shown: of each subject the first images of
    the first seed, (scales, n, h, w, c). explored: of each subject (scales, steps, seeds, n, h, w, c).
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
        digits = _Drawn(config, "digits", measures.of_digits(), folder, progress)
        plain, short, shown = digits.plain(config.samples, config.cure_samples)
        deaf = digits.deaf(config.control_samples)
        cures = digits.cures(short)
        shares = {share: digits.other(name) for share, name in networks.dropouts(config).items()}
        shares[config.digits.drop_condition] = plain.seed(0)
        shuffled = digits.other(networks.SHUFFLED)
    with progress.phase("sample shapes"):
        shapes = _Drawn(config, "shapes", measures.of_shapes(config), folder, progress)
        plain_shapes, _, shown_shapes = shapes.plain(config.shape_samples, config.shape_samples)
        deaf_shapes = shapes.deaf(config.shape_samples)
    with progress.phase("explore"):
        explored = {"digits": digits.explored(), "shapes": shapes.explored()}
    return DrawnSets(
        plain={"digits": plain, "shapes": plain_shapes},
        deaf={"digits": deaf, "shapes": deaf_shapes},
        cures=cures,
        short=short,
        dropouts=dict(sorted(shares.items())),
        shuffled=shuffled,
        shown={"digits": shown, "shapes": shown_shapes},
        explored=explored,
    )


class _Drawn:
    """Networks of one data set, the program that draws from them, and the subject that judges."""

    def __init__(self, config: Config, data: Data, subject: Subject, folder: RunFolder, progress: Progress) -> None:
        self._config, self._data, self._subject, self._folder = config, data, subject, folder
        name, together, self._learning = "", config.together, config.digits
        if data == "shapes":
            name, together, self._learning = "shapes", config.shapes_together, config.shapes
        model = networks.model(self._learning, data)
        second = networks.model(config.weaker, data) if data == "digits" else model  # shapes have no weaker network
        self._draw = Draws(model, config.sampling_steps, together, progress, second=second)
        self._params = {seed: networks.restore(self._learning, data, folder, name, seed) for seed in config.seeds}

    def plain(self, count: int, fewer: int) -> tuple[Sweep, Sweep, np.ndarray]:
        """The sweep over all scales, that of the first `fewer` samples, and the images of the first seed that are shown."""
        scales, rows, few, shown = self._config.scales, [], [], []
        spread = np.arange(self._config.shown) * max(1, self._subject.classes // self._config.shown)  # of all classes
        for seed, params in self._params.items():
            sets = [self._set(f"seed {seed}, guidance {scale:g}", params, count, scale) for scale in scales]
            rows.append([self._subject.rows(images) for images in sets])
            few.append(rows[-1] if fewer == count else [self._subject.rows(images[:fewer]) for images in sets])
            shown.append(np.stack(sets)[:, spread])
        return guidance_cures.sweep(scales, rows), guidance_cures.sweep(scales, few), shown[0]

    def deaf(self, count: int) -> Sweep:
        """Without labels, at the scales at which faithfulness is claimed to grow."""
        scales = [scale for scale in self._config.scales if scale <= self._config.faithful_to(self._data)]
        return self._swept("deaf, seed {seed}, guidance {scale:g}", self._params, count, scales, "deaf")

    def cures(self, plain: Sweep) -> dict[str, Sweep]:
        """Each rule at its own scales, after the one where it does nothing: plain guidance's 1, or 0 for CFG++; thresholding has none."""
        config, sweeps = self._config, {}
        weaker = {seed: networks.restore(config.weaker, self._data, self._folder, "weaker", seed) for seed in config.seeds}
        for name in config.cures:
            start, own = (0.0, config.renoised_scales) if name == "CFG++" else (1.0, config.cure_scales)
            swept = self._swept(name + ", seed {seed}, scale {scale:g}", self._params, config.cure_samples, own, name, weaker)
            sweeps[name] = swept if name == "thresholding" else plain.of([start]).followed_by(swept)
        return sweeps

    def other(self, name: str) -> Sweep:
        """The sweep of a network of the first seed that lies in its own folder."""
        seed = self._config.seeds[0]
        params = {seed: networks.restore(self._learning, self._data, self._folder, name, seed)}
        return self._swept(name + ", guidance {scale:g}", params, self._config.samples, self._config.scales)

    def explored(self) -> np.ndarray:
        """(scales, steps, seeds, n, h, w, c): the same noise under every guidance, number of steps and seed."""
        config = self._config

        def draw(scale: float, steps: int, seed: int) -> np.ndarray:
            title = f"guidance {scale:g}, {steps} steps, seed {seed}"
            return self._draw(title, self._params[seed], config.explored, scale=scale, rule=classifier_free, steps=steps)

        return np.array(
            [[[draw(scale, steps, seed) for seed in self._params] for steps in config.explored_steps] for scale in config.scales]
        )

    def _swept(
        self,
        title: str,
        params: Mapping[int, Params],
        count: int,
        scales: Sequence[float],
        rule: str = "plain",
        weaker: Mapping[int, Params] | None = None,
    ) -> Sweep:
        """Every seed of `params` at every scale. title: with places for seed and scale."""
        rows = []
        for seed, of_seed in params.items():
            second = weaker[seed] if weaker else None
            sets = [self._set(title.format(seed=seed, scale=scale), of_seed, count, scale, rule, second) for scale in scales]
            rows.append([self._subject.rows(images) for images in sets])
        return guidance_cures.sweep(scales, rows)

    def _set(self, title: str, params: Params, count: int, scale: float, rule: str = "plain", weaker: Params = None) -> np.ndarray:
        return self._draw(f"{self._data}, {title}", params, count, scale=scale, rule=RULES[rule], second=weaker)
