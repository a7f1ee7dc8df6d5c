"""The path of a creation, compiled: the same sources, as extension modules."""
