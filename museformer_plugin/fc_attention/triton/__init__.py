"""Attention over ranges of rows on a GPU: fused kernels that loop over packed keys.

``operator`` has the calls. Importing it imports Triton; ``index_lists`` is NumPy alone, for data workers.
"""
