"""The training of one candidate, in a process of its own: its session, its epochs and what they cost."""

__all__ = ["cost", "loop", "models", "session", "setup", "step", "train"]
