"""What the commands and studies of images share: a network of pixels, its training, and how samples are drawn, written
and measured.
"""
