"""What searches and runs survive: each module breaks something real and checks what came of it."""
