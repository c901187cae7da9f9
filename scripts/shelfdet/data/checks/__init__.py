"""Checks of annotations and images: what cannot be right is refused, corrected or named."""
