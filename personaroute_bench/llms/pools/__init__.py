"""The bundled pools, one YAML file each; see docs/pools.md."""
