"""From data to runs: python -m train COMMAND."""
