"""Equal training time: what an iteration costs, how many a budget buys, and whether the time was kept."""
