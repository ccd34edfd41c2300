"""The entries that a user writes in params/: their schema, and reading and checking them."""
