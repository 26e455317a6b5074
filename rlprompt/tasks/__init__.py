"""What is to be solved: examples, splits, template, verbalizer, action vocabulary."""
