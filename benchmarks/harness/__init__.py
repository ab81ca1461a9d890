"""What the measurements share: problems, libraries in processes of their own, records and tables.

`worker` and `libraries` also run in the environments of other libraries, so that they, and what they import, need
nothing but NumPy and SciPy before a library is chosen.
"""
