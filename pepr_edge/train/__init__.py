"""The training of one candidate, in its own process: its session, its epochs and their cost."""

__all__ = ["cost", "distil", "loop", "models", "session", "setup", "step", "step_cost", "train", "weights"]
