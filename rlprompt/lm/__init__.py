"""Frozen language models: score label words, give embedding rows, never learn."""
