"""What runs on the device: sessions, latency, memory, facts, self-test, bench. Needs numpy and onnxruntime, never PyTorch.

`profile` measures one artifact and `bench` several bundles, both in a fresh child process (`child`) by the rules of `rules`. `race` says
which of several files and settings is the fastest, each held open in a process of its own (`contestant`, `race_child`).
"""
