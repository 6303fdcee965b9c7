"""Integrations: watching in Lightning, transformers, accelerate, TensorBoard; ensembles over Ray.

One host, one file.
"""
