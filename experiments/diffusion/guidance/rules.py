"""Rules of guidance: plain, the cures that are said to keep what it loses, and the one that has nothing to guide by."""

from collections.abc import Mapping

from experiments.diffusion.image_draws import Rule, classifier_free
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
RULES: Mapping[str, Rule] = {
    "plain": classifier_free,
    # the null control: both predictions are without a label, so there is nothing to guide by
    "deaf": lambda given, absent, weaker, scale: guidance.classifier_free(absent, absent, scale),
    **CURES,
}
