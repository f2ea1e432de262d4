"""The melody of a song of yours, and other tracks to it."""

from examples.python.arguments import read_arguments, refusals_told
from museformer import Museformer

arguments = read_arguments(__doc__, "out", "song")
with refusals_told():
    model = Museformer.from_pretrained(arguments.model)
    song = model.accompany(arguments.song, given="melody", seed=1)
    for sentence in song.sentences:
        print(sentence)
    print("written:", song.save(arguments.out))
