"""Other ways to tune an LM for a task, to stand beside text prompts."""
