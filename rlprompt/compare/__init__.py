"""Methods side by side: the same tasks, splits, selection and budget for all of them."""
