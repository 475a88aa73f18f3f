"""GANs: which modes of the data they lose, what is said to cure it, and diffusion beside them at equal training
FLOPs.
"""
