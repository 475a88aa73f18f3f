"""What the essay behind this project states, numbered, in words of this project, and what the library promises: rows of
the front page.
"""

from collections.abc import Mapping

CHAPTERS: Mapping[str, Mapping[str, str]] = {
    "Diffusion": {
        "E1": "A generative model learns a distribution well enough to draw from it.",
        "E2": "The forward process adds Gaussian noise by a schedule (linear, cosine, learned) and ends near pure "
        "noise.",
        "E3": "Every step has a closed form, so training draws t at random and predicts the noise.",
        "E4": "DDPM's reverse process needs about 1,000 steps.",
        "E5": "DDIM, the ODE view, needs 20 to 50 steps without a loss of quality that matters.",
    },
    "Guidance": {
        "E6": "Classifier-free guidance (CFG) drops the condition in 10 to 20 % of training and extrapolates; a scale "
        "of 7.5 is usual.",
        "E7": "A larger scale is more faithful and less diverse, and may oversaturate.",
        "E8": "Text prompts work by it.",
    },
    "Latent diffusion": {
        "E9": "Latent diffusion works on 64 times fewer positions, so that consumer hardware runs it.",
        "E10": "The soft edges of its pictures come partly from the decoder of the autoencoder, not from diffusion.",
    },
    "Emergence": {
        "E11": "Abilities appear suddenly with size: with twice the training, sums of three digits work.",
        "E12": "One cause may be sub-skills that must all work.",
        "E13": "Another may be percolation: a last component completes a path.",
        "E14": "Another may be the measure, which counts all or nothing.",
        "E15": "So the abilities of larger models are hard to forecast.",
    },
    "Scaling laws": {
        "E16": "Kaplan's laws favour parameters over data.",
        "E17": "Chinchilla: parameters and tokens grow about equally.",
        "E18": "70 billion parameters on 1.4 trillion tokens beat 175 billion on 300 billion and cost 2.5 times less "
        "to run.",
        "E19": "Since then models are smaller and see more data, so that a token costs less.",
    },
    "Instruction tuning and RLHF": {
        "E20": "A pretrained model continues a question and does not answer it.",
        "E21": "Instruction tuning teaches it to answer.",
        "E22": "RLHF: answers are ranked, a reward model learns the ranking, PPO maximises it.",
        "E23": "It makes the same model far more useful.",
        "E24": "It makes up less with confidence: helpful, harmless, honest.",
        "E25": "Constitutional AI lets a model criticise its answers by principles and needs fewer human labels.",
    },
    "GANs": {
        "E26": "GANs collapse to few modes; samples look alike and curves oscillate.",
        "E27": "A Wasserstein critic helps.",
        "E28": "Minibatch discrimination helps.",
        "E29": "Progressive growing helps.",
        "E30": "Diffusion is stable by construction and has replaced GANs.",
    },
    "Memorisation and watermarks": {
        "E31": "Models both memorise and generalise, by how often an example occurs.",
        "E32": "What occurs often can be extracted; what occurs once rarely can.",
        "E33": "Text comes back verbatim under specific prompts.",
        "E34": "A watermark puts a statistical sign into a model's output that shows where it came from.",
    },
    "The cost of inference": {
        "E35": "Inference for many users passes the cost of training within weeks.",
        "E36": "8 or 4 bits per weight save 2 to 4 times the memory at a modest loss.",
        "E37": "Speculative decoding gives the same text 2 to 3 times as fast.",
        "E38": "A KV cache spares the quadratic work; long contexts need its management.",
        "E39": "A mixture of experts has the same parameters at a fraction of the computation per token.",
    },
    "What comes next": {
        "E40": "One model works across text and images.",
        "E41": "Video handles space and time, at enormous cost.",
        "E42": "More computation at test time goes on improving answers where training flattens.",
        "E43": "Law will ask what a model was trained on.",
        "E44": "Licences may push towards synthetic data.",
        "E45": "Drawing from a distribution is not reasoning about it; the difference shows at the distribution's "
        "edge.",
    },
}
"""Statements by chapter, in the order of the essay."""

COMMANDS: Mapping[str, tuple[str, str]] = {
    "E35": ("gendiff plan --cost", "cost.md"),
    "E43": ("gendiff data-report", "data_report.md"),
}
"""Statement -> the command that answers it for what a reader brings, and its page."""
PROMISES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Certified samplers: each has the order of convergence that its theory states.": {"certify": ("*",)},
    "A sample is a function of (parameters, key, index).": {
        "invariance": ("noise", "oracle*", "guidance-*"),
        "batch-jobs": ("same", "sampling"),
    },
    "One compile serves a whole grid of settings.": {"invariance": ("traces*",), "kv-cache": ("programs",)},
    "Exact resume: a run that is killed ends as one that was not.": {
        "batch-jobs": ("training", "preemptions", "moved", "steps")
    },
}
"""Each promise of the library -> by study the ids of the claims that test it. That every claim is an experiment is what
the page shows.
"""
