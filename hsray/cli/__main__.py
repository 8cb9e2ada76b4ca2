"""`python -m hsray.cli`."""

from hsray.cli import main

main()
