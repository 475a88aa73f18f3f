"""What is learned beside a denoiser: schedules, grids, aligned tokens, and autoencoders of latents."""
