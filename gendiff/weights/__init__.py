"""Other people's parameters: rules from their names to ours and back, safetensors only."""

from gendiff.weights import diffusers_dit, diffusers_unet, files, layouts, rules, settings, torchvision_inception

__all__ = ["diffusers_dit", "diffusers_unet", "files", "layouts", "rules", "settings", "torchvision_inception"]
