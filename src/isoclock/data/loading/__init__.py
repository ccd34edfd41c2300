"""From a prepared data set to batches: reading, augmentation, colour, normalisation."""
