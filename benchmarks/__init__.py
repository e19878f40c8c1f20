"""What the agent costs: load through a real broker, a receiver that counts, peers beside it, and tables of ratios."""
