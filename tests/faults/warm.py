"""Imported once by the process that trainers are forked off: what every start would do again, and takes longest or much memory."""

from isoclock.data.loading.bilinear import compiled
from isoclock.grid.code import code_digest

code_digest("student", "models.pspnet", "methods.kd")
compiled()
