"""A user's own song: any MIDI file in, its bars as tokens; written bars back into it, the rest untouched."""
