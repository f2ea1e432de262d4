"""The tokens: their vocabulary and grammar, songs encoded as them and decoded again, pieces read from text."""
