"""The melody of a song of yours, and other tracks to it."""

from examples.python.arguments import song_arguments
from museformer import Museformer

arguments = song_arguments(__doc__)
model = Museformer.from_pretrained(arguments.model)
song = model.accompany(arguments.song, given="melody", seed=1)
for sentence in song.sentences:
    print(sentence)
print("written:", song.save(arguments.out))
