"""What a network is told beside x and t, and the checks of it."""
