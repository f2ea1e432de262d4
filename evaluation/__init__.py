"""Look at songs and measure them: pictures, and statistics on MIDI files and token files."""
