"""Bundles: self-contained folders with a model and all that is needed to use and check it.

Reading a bundle needs no PyTorch.
"""

__all__ = ["best", "hub", "read", "write"]
