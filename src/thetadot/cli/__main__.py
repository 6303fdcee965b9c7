"""Entry point of ``python -m thetadot.cli``."""

import sys

from thetadot.cli import main

sys.exit(main())
