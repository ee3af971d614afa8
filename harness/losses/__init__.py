"""Losses over logits and label maps."""
