"""How fast the engine is, beside hand-written NumPy and its peers: `python -m benchmarks`."""
