"""The formats, a file each; :mod:`rlprompt.export.protocol` registers them."""
