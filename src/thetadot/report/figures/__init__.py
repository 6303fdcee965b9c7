"""One picture, one file."""
