"""How far n labels get each method: a grid of trainings, and what it says."""
