"""What keeps a run alive and turns it into a result: checkpoints, ledger, lease, failures, publishing."""
