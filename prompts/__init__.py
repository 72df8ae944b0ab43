"""Judge prompts, versioned by hash; installed as `personaroute_bench.prompts`."""
