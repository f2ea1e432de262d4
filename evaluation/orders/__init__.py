"""What a steerable model makes of what is asked of it, measured on what it writes, beside real songs.

``python -m evaluation.orders`` is the command (``__main__``). ``exactness``, ``form``, ``endings``, ``filling`` and
``accompaniment`` measure one thing each; ``writer`` writes their pieces, many at a time, ``pieces`` are songs cut into
bars, ``chords`` hears chords, ``tables`` prints.
"""
