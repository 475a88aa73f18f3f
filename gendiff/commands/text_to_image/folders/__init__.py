"""Pictures by a model in a folder of diffusers, and what such a folder holds."""
