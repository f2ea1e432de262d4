"""One short script for each way of writing from Python."""
