"""`python -m isoclock`."""

import sys

from isoclock.cli import main

sys.exit(main())
