"""The contestants: the gate, and what an expert would write instead with each engine.

Each module prepares its contestants for the contests. Work that an engine can do once is done
there, outside the timing. Consent records and channels become compact tables of bits and instants,
and messages are loaded in the form that suits the engine best.
"""
