"""Sounds as pictures of pitch over time, so that networks of images learn them, and back."""

from gendiff.data.audio import sound_files, sound_folder
from gendiff.data.audio.spectrogram import Spectrogram

__all__ = ["Spectrogram", "sound_files", "sound_folder"]
