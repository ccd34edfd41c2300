"""Imported once by the process that trainers are forked from: the slow parts of every start."""

from isoclock.data.loading.bilinear import compiled
from isoclock.grid.code import code_digest

code_digest("student", "models.pspnet", "methods.kd")
compiled()
