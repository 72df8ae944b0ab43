"""What `benchmarks/results.py` is made of.

plan ──► cells ──run──► choices and times of each ──figures──► figures.json ──page──► results.md
"""
