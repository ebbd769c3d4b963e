"""Runs the command line: ``python -m palpate``."""

from palpate.cli import main

main()
