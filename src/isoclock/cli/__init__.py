"""The command line: every file is one verb, except `main` and `shared`."""
