"""Agents built on stable-baselines3 and sb3-contrib."""
