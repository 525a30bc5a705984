"""A search in a real run: which candidates a device rejects, and which of the others energy is spent on.

looks -> prospects -> drive: every candidate is measured untrained, what it would cost is estimated from a few training steps, and a policy
of `search` decides after each epoch what to train on. What is decided stands in search.json, so that a search that was killed goes on.
"""
