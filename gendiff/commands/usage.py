"""What `gendiff --help` says: the commands by what a person wants, on one screen."""

from gendiff.runs.program import program

_COMMANDS = """make images and clips
  text-to-image --prompt TEXT   by a network that comes along, or by a folder of diffusers
  sample RUN                    by the network of a run
  video                         clips of moving digits, frame by frame
  inspect DIR                   what a folder of diffusers holds, and whether it can be drawn with
  finalize SAMPLES --to FILE    one file of the samples that `sample --shard-size` wrote
train
  train PHOTOS                  a network on images or sounds, or a LoRA: --model DIR --lora 8
  prepare images                decode images once, for several trainings
  plan                          time and memory on an accelerator that is not here
  plan --cost                   when serving a language model has cost as much as training it
  evaluate RUN | SAMPLES        results of a run anew from its checkpoints | measures of such samples
  report RUN [--strict]         report.html anew; --strict exits 1 unless all claims PASS
talk
  chat                          a small language model answers
  tune ROWS.jsonl               a LoRA of a language model: --method sft, dpo or grpo
  quantise MODEL --out FILE     a language model in 4 bits per weight, by GPTQ
measure
  copies SAMPLES --train DATA   what samples copy from their training data
  data-report DATA|RUN          what a model was trained on: licences, AI marks, opt-outs, repeats
  verify FILE                   who made it: metadata, content credentials, watermarks
  scaling-fit --data FILE.csv   scaling laws of a table of trainings
serve
  serve, serve-load             images over HTTP, and the server under load
"""
_STUDIES = """studies
  list                          what there is, and the question of each
  run NAME                      trains and evaluates one; the same command goes on after an interruption
  NAME                          the command of a study that has its own, such as bench
"""
_FOOT = """COMMAND --help explains its options; --quiet shows no progress; --version shows versions. RUN is a run
folder, as in runs/images. Exit codes: 0 done, 2 bad usage, 3 not finite, 42 interrupted and saved (run the same
command again), 65 bad data or checkpoint, 69 no such device, 74 disk, 134 another process ended, 141 nobody reads what
is printed, 128 + N a second signal N.
"""


def text(studies: bool) -> str:
    """The help. studies: whether there are studies to run."""
    return f"usage: {program()} COMMAND …\n\n{_COMMANDS}{_STUDIES if studies else ''}\n{_FOOT}"
