"""Simulated users: populations, their rewards, and how much there is to personalise."""
