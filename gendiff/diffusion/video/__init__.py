"""Clips (b, f, h, w, c): a level for each frame, known frames, and rollout of one block of frames after another.

In reading order: diffusion_forcing, known_frames, rollout. A clip is a sample as any other one: `objectives.denoising`
trains on clips of one level each, `from_network` makes a denoiser of a network with one time per clip, and
`sample` draws clips with the shape (f, h, w, c).
"""

from gendiff.diffusion.video.diffusion_forcing import diffusion_forcing
from gendiff.diffusion.video.known_frames import known_frames
from gendiff.diffusion.video.rollout import DrawnClips, rollout

__all__ = ["DrawnClips", "diffusion_forcing", "known_frames", "rollout"]
