"""Which cells a grid has, where their files are, and what each rule depends on."""
