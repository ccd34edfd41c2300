"""Statistics of a comparison: pure functions of numbers, with numpy, scipy and statsmodels.

scipy.stats and statsmodels are imported where they are used: they take most of a second, which `--help` need not pay.
"""
