"""What we claim about error and speed, each a command that prints it."""
