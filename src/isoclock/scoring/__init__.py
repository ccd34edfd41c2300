"""From logits to scores, and from scores to statistics. Importing this package imports no torch."""
