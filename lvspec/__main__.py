"""`python -m lvspec` is the command `lvspec`."""

import sys

from lvspec.cli.main import main

sys.exit(main())
