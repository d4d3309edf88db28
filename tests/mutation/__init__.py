"""The mutation run: small faults are put into the judging path, and each must make a test fail.

Run it with `make mutate` or `python -m tests.mutation --help`. It is not a part of CI.
"""
