"""Bundled routers, one a file; installed as `personaroute_bench.router`."""
