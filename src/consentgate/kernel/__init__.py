"""The compiled part: C code behind a plain interface, and what compiles and loads it."""

from consentgate.kernel.loading import load_library

__all__ = ["load_library"]
