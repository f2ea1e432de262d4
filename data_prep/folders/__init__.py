"""Long runs over folders of strangers' files: whole or not at all, limited in time and memory, resumed."""
