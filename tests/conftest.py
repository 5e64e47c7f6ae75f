"""What all tests share: verifications are remembered between them and between runs, apart from the user's own."""

import os
from pathlib import Path

os.environ["XDG_CACHE_HOME"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "xdg")
