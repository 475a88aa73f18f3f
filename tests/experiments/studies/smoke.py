"""What a smoke run of every study keeps: it leaves everything, names every threshold and proves nothing."""

import json

from experiments import catalogue
from experiments.diffusion.students import METHODS
from gendiff.commands import command_line
from gendiff.runs import registry

LEAVES = {
    "images": ("emoji_real", "emoji_samples", "textures_nearest", "textures_levels", "textures_frechet"),
    "digits": ("real", "guidance_1", "guidance_2", "denoising", "denoising_steps", "loss", "frechet"),
    "ddim-steps": ("steps", "few_steps", "same_samples"),
    "few-step": ("few_step", "students", "same_samples"),
    "few-step-text": ("shapes_unguided", "shapes_guided", "shapes_students", "shapes_adherence", "emoji_pictures"),
    "schedules": ("log_snr", "bits", "frechet", "loss"),
    "training-recipes": ("unet", "transformer", "digits"),
    "synthetic-data": ("generations", "digits"),
    "audio": ("spectrograms", "frechet"),
    "guidance": ("curves_digits", "curves_shapes", "cures", "dropouts", "explore_digits"),
    "text-to-image": (
        "curves",
        "encoders",
        "pictures",
        "gallery",
        "emoji_seen",
        "emoji_nearest",
        "emoji_gallery",
        "emoji_ordinary",
    ),
    "editing": ("centre", "deblurring", "psnr", "round_trip", "strengths", "between"),
    "forward": ("moments", "prior"),
    "certify": ("flow_errors", "weak_errors", "third_order", "previous_timestep"),
    "invariance": ("same", "ways"),
    "autoencoder": ("rate", "spectra_emoji", "pictures_textures", "lacks", "loss"),
    "latent": ("pictures", "curves", "cost", "memory", "whole_picture"),
    "chat": ("answers",),
    "kv-cache": ("times",),
    "speculative": ("gains",),
    "moe": ("loss", "shares"),
    "quantise": ("likelihood",),
    "serving": ("steps",),
    "membership": ("roc",),
    "memorise-text": ("extraction", "exposure"),
    "memorise": ("shares", "losses", "regenerated", "agreement", "pictures"),
    "watermark-text": ("deltas", "attacks", "entropy"),
    "watermark-image": ("pictures", "changed", "changes", "p_values", "strengths"),
    "gan-modes": ("coverage", "samples_ring", "samples_grid", "training", "over_training"),
    "gan-stability": ("successes", "by_rate", "travels", "losses", "spectra", "over_training"),
    "scaling-train": ("isoflop", "isoflop_fixed", "frontier", "surface", "pictures", "rates"),
    "gan-progressive": ("samples_digits", "frechet", "seconds", "over_training"),
    "emergence": ("metrics", "losses", "carries", "by_metric"),
    "edge": ("edge", "bits", "digits", "scenes"),
    "forecast": ("exact_match", "errors", "losses"),
    "scaling-fit": ("isoflop", "surface", "optima", "overtraining"),
    "growth": ("time", "memory"),
    "first-result": ("seconds",),
    "sub-skills": ("skills", "pictures", "product"),
    "percolation": ("components", "skills", "paths"),
    "ddpo": ("kl_digit", "kl_ink", "kl_scenes", "learning", "samples_digits", "samples_scenes"),
    "instruct": ("orders", "questions"),
    "confabulation": ("refusals", "reliability"),
    "constitution": ("violations", "success"),
    "rlhf": ("frontier", "gold", "overoptimised"),
    "rlhf-language": ("way", "parts"),
    "multimodal": ("drawn", "scenes"),
    "video": ("clips", "long", "drift", "cost_frames", "cost_pixels", "player", "rollouts"),
    "test-time": ("compute", "noise", "difficulty", "doublings", "thinking", "budget", "steered", "pictures"),
}
OPTIONS = {
    "images": ("--least-per-class", "50", "--guidance", "2"),
    "digits": ("--shuffled-steps", "2"),
    "few-step": ("--students", *METHODS),
    "few-step-text": ("--networks", "shapes", "emoji"),
    "rlhf": ("--grpo",),
    "forward": ("--chains", "20", "--levels", "1", "30"),
    "autoencoder": ("--factors", "2", "4", "--latent-channels", "1", "2"),
}
"""Of a smoke run that makes every claim, or is a little faster."""
FEWER = ("autoencoder", "certify", "first-result", "gan-progressive")
"""Smoke runs that measure some sets alone: factors below 8, three samplers, two commands, and digits without emoji."""


def run(name, folder, capsys):
    """The results of a smoke run, which has left its pictures and is left alone when it is asked for again."""
    words = ("run", name, "--smoke", *OPTIONS.get(name, ()), "--out", str(folder))
    assert command_line.main(words, catalogue.EXPERIMENTS) == 0
    outcome = json.loads((folder / "results.json").read_text())
    assert outcome["verdict"] == "INCONCLUSIVE"
    left = {path.name for path in folder.iterdir()}
    assert {"config.json", "report.html", *(f"{file}.png" for file in LEAVES[name])} <= left
    rows = registry.load(name, catalogue.EXPERIMENTS).thresholds
    claimed = {claim["threshold_name" if rows is None else "id"] for claim in outcome["claims"]}
    expected = set(outcome["config"]["thresholds"] if rows is None else rows)
    assert claimed == expected if name not in FEWER else claimed < expected
    assert command_line.main(words, catalogue.EXPERIMENTS) == 0
    assert json.loads((folder / "results.json").read_text()) == outcome
    assert "is finished already" in capsys.readouterr().out
    return outcome
