"""
A first fit
===========

Two features.
"""

print(1)
