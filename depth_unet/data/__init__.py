"""Data sets of pictures with depth."""
