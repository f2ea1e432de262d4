"""A song of yours with bars 3 and 4 written anew, to go with those before and after."""

from examples.python.arguments import read_arguments, refusals_told
from museformer import Museformer

arguments = read_arguments(__doc__, "out", "song")
with refusals_told():
    model = Museformer.from_pretrained(arguments.model)
    song = model.fill(arguments.song, bars="3-4", seed=1)
    for sentence in song.sentences:
        print(sentence)
    print("written:", song.save(arguments.out))
