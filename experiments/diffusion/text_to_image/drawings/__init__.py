"""The second part of the text-to-image experiment: a network of the latents of emoji, asked by their names."""
