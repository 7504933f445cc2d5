"""What tables and pictures of a comparison must know of how rows were compared."""

LEVEL = 0.05  # of tests, after Holm
# Ways to rank, as columns call them, in a word.
SCHEMES = {"mean": "mean", "mean_rank": "ranks", "test": "tests"}
