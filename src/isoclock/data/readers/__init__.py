"""One file per data set: its classes, and which files belong together."""
