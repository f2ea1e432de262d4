"""Decode token lines to MIDI files, one a piece, at 480 ticks per quarter note.

    python -m data_prep.tokens_to_midi generate-test.txt songs

Inputs are token files (one piece a line), folders of them (.txt and .tokens, at any depth), and the output of
``fairseq-generate`` or ``fairseq-interactive``. The representation is detected. Nothing is overwritten.
Exit status 0 when every line gave a MIDI file.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from miditoolkit import MidiFile, TempoChange
from tqdm import tqdm

from data_prep.command import CommandError, run_command, tempo
from data_prep.folders.files import write_whole
from data_prep.tokens.conditions import parse_key
from data_prep.tokens.decode import decode, midi_bytes
from data_prep.tokens.token_files import TokenLine, TokenSource, read_token_lines, token_sources
from data_prep.tokens.vocabulary import TokenError

MELODIC_CHANNELS = 15  # a MIDI file has sixteen channels, one of them for drums
_logger = logging.getLogger(__name__)


@dataclass
class _Totals:
    """What became of the lines."""

    written: int = 0
    rejected: int = 0
    skipped_tokens: int = 0


def _plan(sources: Sequence[TokenSource], out_dir: Path) -> int:
    """The number of pieces. Raises CommandError when two would get one name or a file would be overwritten."""
    wanted: dict[str, Path] = {}
    for source in sources:
        for line in read_token_lines(source.path):
            target = _target(out_dir, source, line)
            other = wanted.setdefault(str(target).casefold(), source.path)
            if other is not source.path:
                raise CommandError(
                    f"{other} and {source.path} would both become {target}; decode them to different folders."
                )
            if target.exists():
                raise CommandError(f"{target} exists already; move it away or name another folder.")
    return len(wanted)


def _target(out_dir: Path, source: TokenSource, line: TokenLine) -> Path:
    return out_dir / source.folder / f"{line.name}.mid"


def decode_line(line: str, strict: bool, transpose: int = 0, tempo: float = 0.0) -> tuple[bytes, list[str]]:
    """A line of tokens as (MIDI file, warnings), ``transpose`` semitones higher.

    ``tempo``: quarter notes a minute throughout, in place of those of the tokens; 0 leaves these.

    Raises TokenError when it holds no note or, if strict, a fault.
    """
    tokens = line.split()
    if not tokens:
        raise TokenError("the line is empty")
    decoded = decode(tokens, strict=strict)
    if not decoded.midi.instruments:
        first = f"; {decoded.skipped[0]}" if decoded.skipped else ""
        raise TokenError(f"there is no complete note{first}")
    melodic = sum(not track.is_drum for track in decoded.midi.instruments)
    if melodic > MELODIC_CHANNELS:
        _logger.warning(
            "%d instruments share the %d channels of a MIDI file; many players mix them up.",
            melodic,
            MELODIC_CHANNELS,
        )
    shift_pitches(decoded.midi, transpose)
    if tempo:
        decoded.midi.tempo_changes = [TempoChange(tempo, 0)]
    return midi_bytes(decoded.midi), decoded.skipped


def shift_pitches(midi: MidiFile, semitones: int) -> None:
    """Shift every pitch but the drums'; a note that would leave 0-127 moves by octaves to stay inside."""
    for track in midi.instruments:
        for note in track.notes if not track.is_drum else ():
            note.pitch += semitones
            note.pitch += 12 * (max(0, -note.pitch + 11) // 12) - 12 * (max(0, note.pitch - 127 + 11) // 12)


def _decode_all(sources: Sequence[TokenSource], out_dir: Path, pieces: int, args: argparse.Namespace) -> _Totals:
    totals = _Totals()
    with tqdm(total=pieces, disable=None) as bar:
        for source in sources:
            for line in read_token_lines(source.path):
                where = f"{source.path}, line {line.number}"
                try:
                    content, skipped = decode_line(line.text, args.strict, args.transpose, args.tempo)
                except TokenError as error:
                    _logger.error("%s: not decoded: %s.", where, error)
                    totals.rejected += 1
                else:
                    write_whole(_target(out_dir, source, line), content)
                    totals.written += 1
                    totals.skipped_tokens += len(skipped)
                    if skipped:
                        _logger.warning("%s: %d tokens skipped, first %s.", where, len(skipped), skipped[0])
                bar.update()
    return totals


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.tokens_to_midi",
        description="Decode token files, folders of them, or fairseq-generate output to MIDI files.",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        type=Path,
        help="a token file (one piece a line), a folder of .txt and .tokens files, or what fairseq printed",
    )
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="folder for the MIDI files")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="reject a line that breaks the grammar anywhere, instead of skipping what cannot be understood",
    )
    parser.add_argument(
        "--transpose",
        type=int,
        default=0,
        metavar="SEMITONES",
        help="shift all pitches but the drums' (default: 0)",
    )
    parser.add_argument(
        "--tempo", type=tempo, default=0.0, metavar="BPM", help="of all pieces, in place of that of their tokens"
    )
    parser.add_argument("--key", metavar="KEY", help="the key to shift pieces in C major or A minor to, as E minor")
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.out_dir.exists() and not args.out_dir.is_dir():
        raise CommandError(f"{args.out_dir} is a file; the last argument names the folder to write to.")
    if args.key is not None:
        try:
            args.transpose += parse_key(args.key).semitones
        except TokenError as error:
            raise CommandError(f"--key: {error}.") from None
    sources = list(token_sources(args.inputs))
    totals = _decode_all(sources, args.out_dir, _plan(sources, args.out_dir), args)
    _logger.info(
        "%d MIDI files in %s; %d lines not decoded; %d tokens skipped",
        totals.written,
        args.out_dir,
        totals.rejected,
        totals.skipped_tokens,
    )
    return 0 if totals.written and not totals.rejected else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; the files written so far are whole.")


if __name__ == "__main__":
    sys.exit(main())
