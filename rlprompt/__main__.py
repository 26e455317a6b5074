"""``python -m rlprompt`` is the command ``rlprompt``."""

from rlprompt.cli import main

if __name__ == "__main__":
    main()
