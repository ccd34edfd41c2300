"""`python -m isoclock`."""

import sys

from isoclock.cli.main import main

sys.exit(main())
