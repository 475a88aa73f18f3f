"""What runs in the peers' own environment: torch and diffusers, and neither JAX nor gendiff."""
