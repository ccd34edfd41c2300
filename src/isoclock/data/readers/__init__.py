"""One file per data set: its classes, and the image and label files of each split."""
