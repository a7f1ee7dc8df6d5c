"""The paths of creations and GETs, compiled: the same sources, as extension modules."""
