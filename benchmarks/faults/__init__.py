"""What a search survives: each module kills or breaks something real and checks what came of it."""
