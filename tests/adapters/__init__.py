"""One contract for every adapter, and what each of them does beyond it."""
