"""What a model can be told of bars before it reads or writes them: which are given, and what a bar is to be like."""
