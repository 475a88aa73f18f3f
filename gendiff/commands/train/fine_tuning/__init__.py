"""`train PHOTOS --model DIR --lora RANK`: a Stable Diffusion learns a small change from pictures with captions."""

from gendiff.commands.train.fine_tuning import jobs, judge, options, train

__all__ = ["jobs", "judge", "options", "train"]
