"""Initial weights of an architecture: where they are found, how a file is read, and what it fits."""

__all__ = ["converting", "finding", "hub", "layers", "load", "reading", "resolving"]
