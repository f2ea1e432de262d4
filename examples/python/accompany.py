"""The melody of a song of yours, and other tracks to it."""

import argparse

from museformer import Museformer

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("out", help="the MIDI file to write")
parser.add_argument("song", help="a MIDI file")
parser.add_argument("--model", help="a folder with model.pt and dict.txt (default: the weights that ship)")
arguments = parser.parse_args()

model = Museformer.from_pretrained(arguments.model)
song = model.accompany(arguments.song, given="melody", seed=1)
for sentence in song.sentences:
    print(sentence)
print("written:", song.save(arguments.out))
