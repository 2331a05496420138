"""Networks as plain PyTorch modules, one file per method; the file's name is the architecture's name.

Each file defines `build(**settings)`, which gives a module from uint8 pixels, (batch, height, width, 3), to
logits, (batch,): whatever a method does to pixels happens inside. `for_export(module)` gives the module that
is written to ONNX: the same function, folded where that is exact.

A method with a loss of its own also defines `training_loss(model, pixels, labels, methods, generator)`, which
gives a scalar: the mean over some pictures, among them at least one real and one fake. `labels` are 0.0 or 1.0,
`methods` 0 for reals and the number of its generator, from 1 on, for a fake; `generator` draws whatever is
random beside dropout, which follows torch's global seed. It may be called under autocast, and raises
`ValueError` for what it cannot learn from. Without it, training minimises binary cross-entropy.

`HEAD` names the submodules that are trained when the rest of a network is not; without it, `head`.
"""
