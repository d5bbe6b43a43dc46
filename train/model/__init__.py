"""The network, its weights and checkpoints."""
