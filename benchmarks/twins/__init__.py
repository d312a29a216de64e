"""Plain PyTorch implementations of our methods, to compare speed with. Need torch, nothing of ours.

Each keeps its data in memory as uint8 tensors and takes the same networks, batches, noise,
augmentation, losses, optimiser and schedule as its namesake in `pipeline/methods/` or
`pipeline/parts/`. The generator's update makes a forward pass of its own, as the papers' code and
PyTorch's tutorials do. Variants:

- eager: what one writes first; `torch.optim.Adam` as it comes.
- tuned: Adam with `fused=True`, convolutions in `channels_last`.
- compiled: tuned, and losses through `torch.compile`.
"""
