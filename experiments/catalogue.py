"""Which experiments there are."""

from gendiff.commands import catalogue as builtin
from gendiff.runs.registry import Listed

EXPERIMENTS = {
    "images": builtin.EXPERIMENTS["images"],
    "digits": Listed(
        "experiments.diffusion.digits",
        "Does a small diffusion model learn real handwritten digits, judged without trusting the model?",
        presets=("demo",),
    ),
    "certify": Listed(
        "experiments.diffusion.certify",
        "Has every sampler the error and the order of convergence that its theory states?",
    ),
    "forward": Listed(
        "experiments.diffusion.forward",
        "Does the chain end where its closed form says, and how far is that from pure noise?",
    ),
    "invariance": Listed(
        "experiments.diffusion.invariance",
        "Is a sample a function of (parameters, key, index), and does one compile serve a whole grid of settings?",
    ),
    "ddim-steps": Listed(
        "experiments.diffusion.ddim_steps",
        "Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?",
    ),
    "few-step": Listed(
        "experiments.diffusion.few_step", "How few evaluations of a network does a digit of full quality need?"
    ),
    "few-step-text": Listed(
        "experiments.diffusion.few_step_text", "How few evaluations of a network does a picture of a caption need?"
    ),
    "schedules": Listed(
        "experiments.diffusion.schedules",
        "Which noise schedule learns digits best at equal budget: linear, cosine, sigmoid or learned?",
    ),
    "training-recipes": Listed(
        "experiments.diffusion.training_recipes",
        "Which changes to training make a network learn sooner, at equal steps?",
    ),
    "synthetic-data": Listed(
        "experiments.diffusion.synthetic_data",
        "What becomes of digits that are learned from samples of digits, generation after generation?",
    ),
    "audio": Listed(
        "experiments.diffusion.sounds",
        "Do the denoisers that draw pictures learn sounds? Does a judge of other recordings hear what was asked for?",
    ),
    "guidance": Listed(
        "experiments.diffusion.guidance",
        "Is stronger guidance more faithful, less diverse and oversaturated, and which cure keeps what it loses?",
    ),
    "editing": Listed(
        "experiments.diffusion.editing",
        "Can a network that learned digits restore what a mask, a small sensor or a blur took, and edit them?",
    ),
    "text-to-image": Listed(
        "experiments.diffusion.text_to_image",
        "Does a small network draw what a sentence says, also combinations of attributes that it has never seen?",
    ),
    "autoencoder": Listed(
        "experiments.diffusion.autoencoder",
        "What does an autoencoder for latent diffusion lose, and do soft edges come from it or from the diffusion "
        "model?",
    ),
    "latent": Listed(
        "experiments.diffusion.latent",
        "Is 64× compression why latent diffusion is fast: what does it gain at equal time and at equal quality?",
    ),
    "batch-jobs": Listed(
        "experiments.diffusion.batch_jobs",
        "Does a batch job lose anything: 50,000 samples in shards, and commands killed at random moments?",
    ),
    "chat": Listed(
        "experiments.language.chat", "How far is a language model that goes on with texts from one that answers?"
    ),
    "kv-cache": Listed("experiments.language.kv_cache", "Does a key/value cache change anything but the time?"),
    "quantise": Listed("experiments.language.quantise", "What do 8 and 4 bits per weight save, and what do they cost?"),
    "moe": Listed("experiments.language.moe", "What does a mixture of experts gain over one MLP?"),
    "serving": Listed("experiments.language.serving", "How fast is a language model served, and what bounds it?"),
    "speculative": Listed(
        "experiments.language.speculative", "Is speculative decoding the same text, two to three times as fast?"
    ),
    "membership": Listed(
        "experiments.provenance.membership", "Can one tell which pictures a diffusion model was trained on?"
    ),
    "memorise-text": Listed(
        "experiments.provenance.memorise_text", "What does a language model remember word for word?"
    ),
    "memorise": Listed(
        "experiments.provenance.memorise", "When does a diffusion model copy its training pictures, and which of them?"
    ),
    "watermark-text": Listed(
        "experiments.provenance.watermark_text",
        "Can one tell texts that a key has marked from others, and at what cost?",
    ),
    "watermark-image": Listed(
        "experiments.provenance.watermark_image",
        "Can one tell which pictures carry a watermark, after what, and does the mark change them?",
    ),
    "gan-modes": Listed(
        "experiments.adversarial.gan_modes",
        "Which modes of the data does a GAN lose, which cures help, and does diffusion lose any?",
    ),
    "gan-stability": Listed(
        "experiments.adversarial.gan_stability",
        "How often does a training succeed, whatever its seed and learning rate, and do training curves oscillate?",
    ),
    "gan-progressive": Listed(
        "experiments.adversarial.gan_progressive",
        "Does progressive growing give a better GAN at equal cost, and where does a GAN still win against diffusion?",
    ),
    "emergence": Listed(
        "experiments.scaling.emergence",
        "Does an ability appear suddenly with size, and is that the network, the metric, or percolation?",
        presets=("large",),
    ),
    "forecast": Listed(
        "experiments.scaling.forecast",
        "Can what a larger network does be forecast from smaller ones, and by which measure?",
    ),
    "scaling-fit": Listed(
        "experiments.scaling.scaling_fit",
        "Can a scaling law be fitted, and what do the published ones say of the best model?",
    ),
    "growth": Listed("experiments.scaling.growth", "Do time and memory grow no faster than theory says?"),
    "sub-skills": Listed(
        "experiments.scaling.sub_skills",
        "Does an ability that needs several skills appear as their product, so that it comes late and at once?",
    ),
    "percolation": Listed(
        "experiments.scaling.percolation", "Do skills appear at once when facts are read one by one?"
    ),
    "scaling-train": Listed(
        "experiments.scaling.scaling_train", "How do loss and the best size grow with the operations of training?"
    ),
    "instruct": Listed(
        "experiments.preferences.instruct", "What makes a model that goes on with texts into one that answers?"
    ),
    "confabulation": Listed(
        "experiments.preferences.confabulation",
        "Does a real model make things up, does it know when it does, and what does tuning against it gain and cost?",
    ),
    "constitution": Listed(
        "experiments.preferences.constitution",
        "Can a network improve its own answers by principles that it was taught to judge?",
    ),
    "rlhf": Listed(
        "experiments.preferences.rlhf",
        "Do PPO, GRPO and DPO reach the known optimum of reinforcement learning from preferences?",
    ),
    "rlhf-language": Listed(
        "experiments.preferences.rlhf_language",
        "Does RLHF make a real language model more useful, and what if its reward model is optimised too far?",
    ),
    "ddpo": Listed(
        "experiments.preferences.ddpo",
        "Can a denoiser be taught what to draw by a reward alone, and what does that cost beside best-of-n?",
    ),
    "test-time": Listed(
        "experiments.preferences.test_time",
        "What does more computation at test time bring, and when is a verifier worse than a vote?",
    ),
    "multimodal": Listed(
        "experiments.multimodal",
        "Can one network draw what a text says and say what a picture shows, and does it lose by doing both?",
    ),
    "video": Listed(
        "experiments.video",
        "How should a video model attend, does a rollout drift, and what do frames and pixels cost?",
    ),
    "edge": Listed("experiments.edge", "What is left of an ability off the edge of what a network learned from?"),
    "first-result": Listed("experiments.bench.first_result", "How long does a person wait for the first result?"),
    "bench": Listed(
        "experiments.bench.bench", "Is the library faster than what people would use instead?", typed="bench"
    ),
    "bench-language": Listed(
        "experiments.bench.bench_language",
        "Are language models faster here than with what people would use instead?",
        typed="bench-language",
    ),
    "bench-stable-diffusion": Listed(
        "experiments.bench.bench_stable_diffusion",
        "Is Stable Diffusion here what it is in diffusers, and as fast?",
        typed="bench-stable-diffusion",
    ),
    "bench-full-size": Listed(
        "experiments.bench.bench_full_size",
        "Do models of today draw at full size on two cores?",
        typed="bench-full-size",
    ),
}
"""Name of each experiment -> its module and its question. A new experiment is one line here."""
