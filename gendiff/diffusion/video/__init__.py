"""Clips (b, f, h, w, c): a level for each frame, frames that are known, and rollout of one block of frames after the other.

In reading order: diffusion_forcing, known_frames, rollout. A clip is a sample as any other one: `objectives.denoising`
trains on clips of one level each, `from_network` makes a denoiser of a network that is told one time per clip, and
`sample` draws whole clips with the shape (f, h, w, c).
"""

from gendiff.diffusion.video.diffusion_forcing import diffusion_forcing
from gendiff.diffusion.video.known_frames import known_frames
from gendiff.diffusion.video.rollout import DrawnClips, rollout

__all__ = ["DrawnClips", "diffusion_forcing", "known_frames", "rollout"]
