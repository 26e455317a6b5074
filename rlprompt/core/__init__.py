"""Types that everything else shares; imports neither torch nor transformers."""
