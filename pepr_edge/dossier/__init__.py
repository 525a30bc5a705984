"""The paper trail of a bundle: a label, reporting checklists, a bill of materials, and what changed.

Each statement comes from the manifest. Needs no PyTorch.
"""

__all__ = ["checklists", "write"]
