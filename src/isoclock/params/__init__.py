"""What a user may write under params/: its schema, reading it, checking it."""
