"""From raw files to a prepared data set: checking, packing, the packed format."""
