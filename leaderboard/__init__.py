"""The leaderboard: submissions, their check, and the page; see docs/leaderboard.md.

Installed as `personaroute_bench.leaderboard`. The library never imports it, `bench` only when a
leaderboard command runs.
"""
