"""Fine-tuning of the encoder."""
