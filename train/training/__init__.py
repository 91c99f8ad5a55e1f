"""Fine-tuning alone: the loop, the update, checkpoints, captured steps."""
