"""The network of the latents of emoji: its pictures, its autoencoder and its rules."""
