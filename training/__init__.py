"""Fine-tuning of the encoders."""
