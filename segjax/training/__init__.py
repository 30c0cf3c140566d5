"""Training: losses, optimiser, checkpoints and the loop."""
