"""From the probabilities of a method's stages to segmentations and scores."""
