"""A song of yours: 8 bars are kept, and it goes on to bar 16."""

from examples.python.arguments import read_arguments, refusals_told
from museformer import Museformer

arguments = read_arguments(__doc__, "out", "song")
with refusals_told():
    model = Museformer.from_pretrained(arguments.model)
    song = model.continue_(arguments.song, prompt_bars=8, bars=16, seed=1)
    for sentence in song.sentences:
        print(sentence)
    print("written:", song.save(arguments.out))
