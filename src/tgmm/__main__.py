"""``python -m tgmm``."""

import sys

from tgmm.cli import main

if __name__ == "__main__":
    sys.exit(main())
