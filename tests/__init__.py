"""The tests; and where they find what is not in the repository."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The Twitter set may be used for education and research but not passed on: it is read where it
# lies and never copied here. `make test-hub` gets the same texts from the Hub.
EMOTION = Path(os.environ.get("MINIBERT_EMOTION", ROOT.parent / "shared" / "data" / "emotion"))
