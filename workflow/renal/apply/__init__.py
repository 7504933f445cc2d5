"""A trained row as one file, and CTs segmented with it: without a data set, folds or Snakemake."""
