"""Tables, figures and one HTML page out of a results folder. Imports no torch."""

from isoclock.report.build import build_report, print_table

__all__ = ["build_report", "print_table"]
