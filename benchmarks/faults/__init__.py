"""What the daemon is to survive: each fault is done to a real one, and what came of it measured."""
