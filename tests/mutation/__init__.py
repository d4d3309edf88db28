"""The mutation run, which puts small faults into the judging path. Each must make a test fail.

Start it with `make mutate`, or see `python -m tests.mutation --help`. CI does not run it.
"""
