"""A frozen graph in other formats, for machines without TensorFlow 1.15 (step 11)."""
