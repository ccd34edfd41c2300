"""The documents that the verbs exchange, and the only code that reads and writes them."""
