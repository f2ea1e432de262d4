"""A song from scratch: its form, when the drums enter, its tempo and its key."""

import argparse

from museformer import Museformer

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("out", help="the MIDI file to write")
parser.add_argument("--model", help="a folder with model.pt and dict.txt (default: the weights that ship)")
arguments = parser.parse_args()

model = Museformer.from_pretrained(arguments.model)
song = model.sample(form="A4B4A4B4", tracks="melody,bass,piano,5:+drums", tempo=96, key="E minor", seed=1)
for sentence in song.sentences:
    print(sentence)
print("written:", song.save(arguments.out))
