"""`python -m ocrslim`: the same as the console command `ocrslim`."""

import sys

from ocrslim.cli import main

sys.exit(main())
