"""How anybody asks an LM who has only transformers: a module for each family.

These are the yardstick of the check, and the exported Python file holds them as they stand here. So
they import nothing of this library.
"""
