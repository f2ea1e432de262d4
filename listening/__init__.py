"""Listen to songs: a page beside the MIDI files, and sound files.

``page`` is the command that ``generate.sh`` calls: it reads the songs (``songs``) and what is known of how they were
made (``details``), and writes one HTML file that holds everything (``document``, out of ``assets/``). ``wav`` lets
FluidSynth play a song into a file. Nothing here needs PyTorch, fairseq or matplotlib.
"""
