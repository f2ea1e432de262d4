"""Museformer from Python: songs written from scratch, continued, filled in, accompanied and varied; MIDI in and out.

from museformer import Museformer

model = Museformer.from_pretrained()
model.fill("song.mid", bars="9-12").save("filled.mid")
"""

from .quiet import logging_as_it_was

with logging_as_it_was():  # fairseq, which is underneath, sets up the logging of whoever imports it
    from .errors import RequestError
    from .model import Museformer
    from .options import WritingOptions
    from .placing import WrittenBar
    from .stream import BarStream, WrittenSong

__all__ = ["BarStream", "Museformer", "RequestError", "WritingOptions", "WrittenBar", "WrittenSong"]
