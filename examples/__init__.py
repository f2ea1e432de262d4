"""Songs to try the whole chain with: traditional tunes, arranged for six tracks by a small program.

``notation`` reads a tune, ``forms`` lays its sections out, ``arranger`` adds the band and
``make_songs`` writes MIDI files together with ``forms.json``, which says what repeats what.
"""
