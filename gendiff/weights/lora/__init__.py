"""LoRA files of kohya, peft and `diffusers`, in and out."""
