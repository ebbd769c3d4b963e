"""``python -m palpate``."""

from palpate.cli import main

main()
