"""Tests of the compiled kernel: how it is compiled, loaded and put into wheels."""
