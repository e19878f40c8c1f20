"""What is done to whole agents, and what they lose by it: the rows of tests/faults.toml, run and judged."""
