"""Learned prompts as a small HTTP service: texts of many clients and tasks on one loaded LM."""
