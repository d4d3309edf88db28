"""The contestants: the gate, and what an expert would write in its stead with each engine.

Each module makes its contestants ready for the contests. What an engine can do once is done there,
outside the timing: consent records and channels become compact tables of bits and instants, and
the messages are loaded as the engine likes them best.
"""
