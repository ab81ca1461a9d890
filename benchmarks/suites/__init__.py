"""The measurements, one module each; `python benchmarks/run.py SUITE` runs one.

A suite has a docstring, whose first line is what the list of suites says of it, and two functions:
`add_options(options)` adds what its command line takes, and `main(chosen)` measures and prints.
"""
