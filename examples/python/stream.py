"""Each bar of a song as soon as it is written."""

from examples.python.arguments import read_arguments, refusals_told
from museformer import Museformer

arguments = read_arguments(__doc__)
with refusals_told():
    model = Museformer.from_pretrained(arguments.model)
    stream = model.stream(bars=8, tempo=120, seed=1)
    for bar in stream:
        seconds = (bar.end - bar.start) / bar.ticks_per_beat * 60 / bar.tempo
        playing = ", ".join(f"{track.name} {len(track.notes)}" for track in bar.instruments)
        print(f"bar {bar.number}, {seconds:.1f} seconds of music; notes: {playing or 'none'}", flush=True)
    print(len(stream.song().tokens), "tokens in all")
