"""The command line: verbs, parsing and printing; nothing else."""

from rlprompt.cli.main import main

__all__ = ["main"]
