"""The form of a piece: its sections, which of them repeat one another, and which bars do."""
