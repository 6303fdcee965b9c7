"""Entry point of ``python -m thetadot``."""

import sys

from thetadot.cli import main

if __name__ == "__main__":
    sys.exit(main())
