"""Side by side with what a user would pick instead: `python benchmarks/peers/run.py`."""
