"""Pictures of a prompt, by the networks that come with the package, by a file of one's own, or by a folder of
diffusers.

gendiff text-to-image --prompt "a small red circle" --model shapes --out circle.png
"""
