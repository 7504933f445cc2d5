"""Kidney and kidney-tumour segmentation in CT: the published KiTS19 methods on one set of folds."""
