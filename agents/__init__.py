"""Ways to propose prompts: RL agents and the controls they must beat, behind one protocol."""
