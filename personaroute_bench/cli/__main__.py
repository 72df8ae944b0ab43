"""`python -m personaroute_bench.cli`."""

from personaroute_bench.cli import main

main()
