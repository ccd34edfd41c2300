"""From raw files to a prepared data set: verification, packing and the packed format."""
