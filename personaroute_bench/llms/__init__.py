"""From a pool of LLMs to settled replies: pool, prices, wires, retry, limits, ledger."""
