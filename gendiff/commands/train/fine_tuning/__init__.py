"""`train PHOTOS --model DIR --lora RANK`: a model in a folder learns a small change from pictures with captions."""
