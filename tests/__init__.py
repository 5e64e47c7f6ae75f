"""Where the project stands, for the tests of all rooms."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "specs"
ZOO = sorted(SPECS.glob("*.yaml"))
