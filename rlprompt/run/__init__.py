"""The composition root: a frozen configuration in, a result out."""
