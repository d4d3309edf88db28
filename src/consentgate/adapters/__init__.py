"""Gates in the engines that people already use: what goes in comes back, with admitted rows only.

Each module has `filter(data, gate, …)`, which returns what it was given. Nothing here imports an
engine before it is used.
"""

__all__: list[str] = []
