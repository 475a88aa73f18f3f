"""Networks of images and clips: denoisers, autoencoders, and those whose features are compared."""
