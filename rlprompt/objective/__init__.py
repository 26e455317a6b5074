"""Prompts in, evaluations and rewards out, under a budget."""
