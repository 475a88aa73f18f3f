"""The process that speaks with eSpeak NG, and imports nothing of this project.

Its input is JSON, a list of [file, words, voice, pitch, speed], and each becomes a WAV file of 16 bits. A voice is a
language and a variant, such as en-us+f3. Breath has random numbers: equal lists give equal files, and the same words
twice in one list differ a little.
"""

import ctypes
import json
import os
import sys
import wave
from pathlib import Path

SYNCHRONOUS, DONT_EXIT = 2, 0x8000
SPEED, PITCH = 1, 3
CHARACTERS, UTF8 = 1, 1
"""Of eSpeak NG's speak_lib.h."""
RANDOM_SEED = 1


def speak_all(requests: list[tuple[str, str, str, int, int]]) -> None:
    """Write the file of each request.

    Raises:
        ValueError: for a voice that eSpeak NG does not have.
        OSError: where it does not start or speak.
    """
    import espeakng_loader

    library, pieces = ctypes.CDLL(espeakng_loader.get_library_path()), list[bytes]()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(samples: int | None, count: int, events: int | None) -> int:
        if samples is not None and count:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    data = Path(espeakng_loader.get_data_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data), DONT_EXIT)
    if rate <= 0:
        raise OSError(f"eSpeak NG does not start: {rate}")
    library.espeak_SetSynthCallback(collect)
    library.espeak_ng_SetRandSeed(ctypes.c_long(RANDOM_SEED))
    for file, words, voice, pitch, speed in requests:
        pieces.clear()
        variant = data / "voices" / "!v" / voice.partition("+")[2]  # one that is absent would be left out in silence
        if not variant.is_file() or library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r}")
        library.espeak_SetParameter(PITCH, pitch, 0)
        library.espeak_SetParameter(SPEED, speed, 0)
        text = words.encode() + b"\0"
        if library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, CHARACTERS, 0, UTF8, None, None):
            raise OSError(f"eSpeak NG does not speak {words!r}")
        with wave.open(file, "wb") as stream:
            stream.setnchannels(1)
            stream.setsampwidth(2)
            stream.setframerate(rate)
            stream.writeframes(b"".join(pieces))


if __name__ == "__main__":
    speak_all(json.load(sys.stdin))
