"""The one training loop, its clocks, and what makes a run survive."""
