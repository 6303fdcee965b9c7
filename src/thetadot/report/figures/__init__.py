"""Figures, one file a picture."""
