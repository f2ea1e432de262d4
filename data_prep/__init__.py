"""MIDI in, tokens out, and back: everything that knows MIDI, and the one home of the vocabulary.

Nothing here imports torch, fairseq or the plugin. The modules of this folder are commands; follow one song:
``midi_to_tokens`` -> ``make_splits`` -> (fairseq) -> ``tokens_to_midi``. What they do it with is in ``tokens``,
``six_track`` (wild songs made fit for training), ``similarity`` (of bars) and ``folders`` (long runs over files).
"""
