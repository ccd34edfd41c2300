"""Ends a test's cluster on request, and when the process that started it has ended: `python keeper.py FOLDER PID`.

To request the end, write to its standard input. A process that was started in the meantime may hold that open after the end.
"""

from __future__ import annotations

import os
import select
import shutil
import sys

from processes import end_marked

ASK_EVERY_S = 0.2

if __name__ == "__main__":
    folder, started_by = sys.argv[1:]
    while os.getppid() == int(started_by) and not select.select([sys.stdin], [], [], ASK_EVERY_S)[0]:
        pass
    end_marked(folder)
    shutil.rmtree(folder, ignore_errors=True)
