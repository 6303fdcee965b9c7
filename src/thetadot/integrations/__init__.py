"""Watching where users already are: Lightning, transformers, accelerate, TensorBoard. One host, one file."""
