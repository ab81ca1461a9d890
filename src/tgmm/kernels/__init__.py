"""Kernels: one pass over the data under given parameters, in interchangeable forms."""
