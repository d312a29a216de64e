"""A run from its first stage to its last line: where stages and MLflow meet."""
