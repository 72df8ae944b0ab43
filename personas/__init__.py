"""The bundled personas: archetypes and facets in YAML, installed as `personaroute_bench.personas`.

paper.yaml holds the nine kinds of people that the paper simulates, everyday.yaml further ones,
facets.yaml what a person can have besides. docs/personas.md explains the format; the reader is
personaroute_bench.users.persona_files.
"""
