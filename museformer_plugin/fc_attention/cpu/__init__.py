"""Attention over ranges of rows in PyTorch's own operations, made for CPUs; it runs on other devices too.

``operator`` has the calls, ``head`` computes in float32 and float64, ``bfloat16`` in bfloat16, ``summary`` the summary
step.
"""
