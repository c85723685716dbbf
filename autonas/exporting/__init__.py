"""`autonas export`: a finished run as other tools load it, checked in their own runtimes before it appears.

What an architecture's weights are called elsewhere is in native_classes.py, onnx_graph.py and gguf_file.py; which formats there
are in formats.py; how one is held to the trained model in parity.py; how a folder comes about in export.py.
"""
