"""A song from scratch: its form, when the drums enter, its tempo and its key."""

from examples.python.arguments import read_arguments, refusals_told
from museformer import Museformer

arguments = read_arguments(__doc__, "out")
with refusals_told():
    model = Museformer.from_pretrained(arguments.model)
    song = model.sample(form="A4B4A4B4", tracks="melody,bass,piano,5:+drums", tempo=96, key="E minor", seed=1)
    for sentence in song.sentences:
        print(sentence)
    print("written:", song.save(arguments.out))
