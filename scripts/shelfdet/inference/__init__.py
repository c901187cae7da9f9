"""Running a frozen graph, and making one from a checkpoint."""

# Score from which boxes are drawn and counted where no metrics.json holds a threshold of the graph.
# Here, and not in graph_files.py, because an option's help shows it and must not load NumPy.
DEFAULT_THRESHOLD = 0.5
# In place of a number of tiles: chosen for each image.
AUTO_TILES = "auto"
# What runs a graph. The first is the default and the reference.
TENSORFLOW = "tensorflow"
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
RUNTIMES = (TENSORFLOW, ONNXRUNTIME, OPENVINO)
