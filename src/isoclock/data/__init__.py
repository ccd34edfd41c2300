"""Data sets: readers (one file each), packing, augmentation and loading."""
