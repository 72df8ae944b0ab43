"""Procedural tasks of our own: four families, seeded, no download, every item with a truth."""
