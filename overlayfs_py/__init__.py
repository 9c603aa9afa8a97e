"""A FUSE overlay filesystem for container layers, and the layer system around it."""

__version__ = "0.1.0"
