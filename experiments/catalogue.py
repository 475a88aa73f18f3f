"""Which experiments there are, and which commands without one."""

EXPERIMENTS = {
    "images": "experiments.diffusion.images",
    "digits": "experiments.diffusion.digits",
    "certify": "experiments.diffusion.certify",
    "forward": "experiments.diffusion.forward",
    "invariance": "experiments.diffusion.invariance",
    "ddim-steps": "experiments.diffusion.ddim_steps",
    "schedules": "experiments.diffusion.schedules",
    "guidance": "experiments.diffusion.guidance",
    "editing": "experiments.diffusion.editing",
    "text-to-image": "experiments.diffusion.text_to_image",
    "autoencoder": "experiments.diffusion.autoencoder",
    "latent": "experiments.diffusion.latent",
    "batch-jobs": "experiments.diffusion.batch_jobs",
    "chat": "experiments.language.chat",
    "kv-cache": "experiments.language.kv_cache",
    "quantise": "experiments.language.quantise",
    "moe": "experiments.language.moe",
    "serving": "experiments.language.serving",
    "speculative": "experiments.language.speculative",
    "membership": "experiments.provenance.membership",
    "memorise-text": "experiments.provenance.memorise_text",
    "memorise": "experiments.provenance.memorise",
    "watermark-text": "experiments.provenance.watermark_text",
    "watermark-image": "experiments.provenance.watermark_image",
    "gan-modes": "experiments.adversarial.gan_modes",
    "gan-stability": "experiments.adversarial.gan_stability",
    "gan-progressive": "experiments.adversarial.gan_progressive",
    "emergence": "experiments.scaling.emergence",
    "scaling-fit": "experiments.scaling.scaling_fit",
    "percolation": "experiments.scaling.percolation",
    "scaling-train": "experiments.scaling.scaling_train",
    "instruct": "experiments.preferences.instruct",
    "constitution": "experiments.preferences.constitution",
    "rlhf": "experiments.preferences.rlhf",
    "ddpo": "experiments.preferences.ddpo",
    "test-time": "experiments.preferences.test_time",
    "bench": "experiments.benchmarks.bench",
    "bench-language": "experiments.benchmarks.bench_language",
}
"""Name of each experiment -> the module whose `EXPERIMENT` it is. A new experiment is one line here."""

TOOLS = {
    "copies": "experiments.provenance.copies",
    "verify": "experiments.provenance.verify",
}
"""Name of each command that belongs to no experiment -> the module whose `COMMAND` it is."""
