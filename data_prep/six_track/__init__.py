"""One wild MIDI file made into the six tracks: who plays what, the beat, the rules, and the report of all files."""
