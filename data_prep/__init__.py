"""MIDI in, tokens out, and back: everything that knows MIDI, and the one home of the vocabulary.

Nothing here imports torch, fairseq or the plugin. Follow one song:
``midi_to_tokens`` -> ``make_splits`` -> (fairseq) -> ``tokens_to_midi``.
"""
