"""What a run is told: its keys, where their values come from, what suits its length."""
