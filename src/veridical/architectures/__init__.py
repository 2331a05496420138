"""Networks as plain PyTorch modules, one file per method; the file's name is the architecture's name.

Each file defines `build(**settings)`, which gives a module from uint8 pixels, (batch, height, width, 3), to
logits, (batch,): whatever a method does to pixels happens inside. `for_export(module)` gives the module that
is written to ONNX: the same function, folded where that is exact.
"""
