"""`python -m tinyattn`: the command line."""

import sys

from tinyattn.cli import main

if __name__ == "__main__":
    sys.exit(main())
