"""`train PHOTOS --model DIR --lora RANK`: a Stable Diffusion learns a small change from pictures with captions."""
