"""Networks of pictures as `diffusers` stores them, in folders and in the single files of latent diffusion."""
