"""A learned prompt as files for other tools, each read back by the tool that it is for."""
