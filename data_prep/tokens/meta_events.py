"""MIDI files with damaged meta events: the bytes without these events, for parsers that refuse the whole file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_CHUNK = struct.Struct(">4sL")  # name and length
_META, _SYSEX = 0xFF, (0xF0, 0xF7)
_ONE_DATA_BYTE = (0xC, 0xD)  # upper halves of the statuses of programs and channel pressure
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
_SMPTE_LIMITS = (0x7F, 59, 59, 255, 99)  # rate (two bits) and hours, minutes, seconds, frames, hundredths


def _is_key(data: bytes) -> bool:
    return len(data) >= 2 and (data[0] <= 7 or data[0] >= 256 - 7) and data[1] <= 1


def _is_smpte_offset(data: bytes) -> bool:
    return len(data) >= 5 and all(value <= limit for value, limit in zip(data, _SMPTE_LIMITS))


# Whether the bytes of a meta event are what its type must hold (Standard MIDI Files 1.0). A damaged metre is not
# among them: without it nobody knows where bars begin, so such a file stays refused. All other types hold any bytes.
_IS_WHOLE: Mapping[int, Callable[[bytes], bool]] = {
    0x00: lambda data: len(data) != 1,  # sequence number
    0x20: lambda data: len(data) >= 1,  # channel prefix
    0x51: lambda data: len(data) >= 3 and any(data[:3]),  # tempo
    0x54: _is_smpte_offset,
    0x59: _is_key,
}


class _LostError(Exception):
    """The bytes cannot be followed: the damage is more than a meta event."""


@dataclass
class _Reader:
    """A place in the bytes of a track, which end at ``end``."""

    content: bytes
    at: int
    end: int

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises _LostError when there are fewer."""
        if self.at + count > self.end:
            raise _LostError
        self.at += count
        return self.content[self.at - count : self.at]

    def take_number(self) -> int:
        """A number of variable length."""
        number = 0
        while True:
            byte = self.take(1)[0]
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                return number


def without_damaged_meta_events(content: bytes) -> tuple[bytes, int]:
    """The bytes of a MIDI file without its damaged meta events, and how many there were.

    The wait before such an event is added to that before the next one. A file whose chunks or events cannot be
    followed comes back as it is, with 0.
    """
    try:
        chunks = [(name, *(_cleaned(data) if name == b"MTrk" else (data, 0))) for name, data in _chunks(content)]
    except _LostError:
        return content, 0
    damaged = sum(count for _, _, count in chunks)
    return (b"".join(_CHUNK.pack(name, len(data)) + data for name, data, _ in chunks) if damaged else content), damaged


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks; what follows the tracks that the header counts is left out."""
    reader = _Reader(content, 0, len(content))
    header = b""
    tracks = 0
    while not header or tracks < int.from_bytes(header[2:4], "big"):
        name, length = _CHUNK.unpack(reader.take(_CHUNK.size))
        data = reader.take(length)
        header = header or data
        tracks += name == b"MTrk"
        yield name, data


def _cleaned(track: bytes) -> tuple[bytes, int]:
    """A track's events without the damaged meta events, and how many these were."""
    reader = _Reader(track, 0, len(track))
    kept = bytearray()
    wait = damaged = 0
    status: int | None = None
    while reader.at < reader.end:
        wait += reader.take_number()
        start = reader.at
        first = reader.take(1)[0]
        if first == _META:
            is_whole = _IS_WHOLE.get(reader.take(1)[0], lambda data: True)
            if not is_whole(reader.take(reader.take_number())):
                damaged += 1
                continue
        elif first in _SYSEX:
            status = first
            reader.take(reader.take_number())
        elif first >= 0x80:
            status = first
            reader.take(_data_bytes(status))
        elif status is None or status in _SYSEX:
            raise _LostError
        else:
            reader.take(_data_bytes(status) - 1)
        kept += _variable_length(wait) + track[start : reader.at]
        wait = 0
    return bytes(kept), damaged


def _data_bytes(status: int) -> int:
    if status < 0xF0:
        return 1 if status >> 4 in _ONE_DATA_BYTE else 2
    if status not in _SYSTEM_DATA_BYTES:
        raise _LostError
    return _SYSTEM_DATA_BYTES[status]


def _variable_length(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))
