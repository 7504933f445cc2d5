"""Where the cases come from: the data set, its folds, and what was found on checking it."""
