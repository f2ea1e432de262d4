"""Let FluidSynth play a MIDI file into a sound file.

    python -m listening.wav SONG.mid SONG.wav [--soundfont FONT.sf2]

FluidSynth and a General MIDI soundfont are not part of this project: ``apt-get install fluidsynth fluid-soundfont-gm``
brings both on Debian and Ubuntu (``timgm6mb-soundfont`` is a smaller font), ``brew install fluid-synth`` the first on a
Mac. Without --soundfont the fonts that such packages install are looked for. Nothing is overwritten.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.command import CommandError, run_command
from data_prep.folders.files import TEMPORARY_SUFFIX
from data_prep.tokens.song import SongError, read_song

RATE = 44100  # samples a second
_FOLDERS = tuple(map(Path, ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts")))
_FONTS = ("FluidR3_GM.sf2", "default-GM.sf2", "default.sf2", "TimGM6mb.sf2")  # the fullest first
_INSTALL = "apt-get install fluidsynth fluid-soundfont-gm"


def installed_soundfont(folders: Sequence[Path] = _FOLDERS) -> Path | None:
    """A General MIDI soundfont that a package has put into one of ``folders``."""
    places = (folder / name for name in _FONTS for folder in folders)
    return next((place for place in places if place.is_file()), None)


def write_wav(midi: Path, wav: Path, soundfont: Path | None = None) -> None:
    """Play ``midi`` into ``wav``, stereo, 16 bits, with an installed soundfont or the one named.

    Raises CommandError when FluidSynth or a font is missing, the song cannot be read, ``wav`` exists or playing failed.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise CommandError(f"FluidSynth is not installed; {_INSTALL} brings it and its instruments.")
    font = soundfont or installed_soundfont()
    if font is None:
        raise CommandError(f"No soundfont is installed; {_INSTALL} brings one, or name one with --soundfont.")
    if not font.is_file():
        raise CommandError(f"There is no soundfont at {font}.")
    with font.open("rb") as stream:  # FluidSynth would play with another font and say nothing
        header = stream.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"sfbk":
        raise CommandError(f"{font} is not a soundfont; name an .sf2 or .sf3 file.")
    if wav.exists():
        raise CommandError(f"{wav} exists already; move it away or name another file.")
    try:
        read_song(midi)
    except SongError as error:
        raise CommandError(f"{midi} cannot be played: {error}.") from None
    wav.parent.mkdir(parents=True, exist_ok=True)
    temporary = wav.with_name(wav.name + TEMPORARY_SUFFIX)
    options = ["-q", "-n", "-i", "-r", str(RATE), "-g", "0.7", "-T", "wav", "-O", "s16"]
    command = [program, *options, "-F", *map(str, (temporary.resolve(), font.resolve(), midi.resolve()))]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode or not temporary.is_file():
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CommandError(f"FluidSynth could not play {midi}: {said}.")
        temporary.replace(wav)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m listening.wav", description=__doc__.split("\n")[0])
    parser.add_argument("midi", type=Path, metavar="SONG.mid", help="the song")
    parser.add_argument("wav", type=Path, metavar="SONG.wav", help="the sound file to write")
    parser.add_argument("--soundfont", type=Path, metavar="FONT.sf2", help="instruments (default: those installed)")
    options = parser.parse_args(arguments)

    def write() -> int:
        write_wav(options.midi, options.wav, options.soundfont)
        return 0

    return run_command(write, "Interrupted; no sound file was written.")


if __name__ == "__main__":
    sys.exit(main())
