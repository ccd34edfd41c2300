"""Tables, figures and one HTML page from a results folder. Does not import torch."""

from isoclock.report.build import build_report, print_table

__all__ = ["build_report", "print_table"]
