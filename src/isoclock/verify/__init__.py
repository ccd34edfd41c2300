"""Recomputing what a report says from confusion matrices and ledgers, here or in an archive for a reviewer."""
