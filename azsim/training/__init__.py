"""Training of the project's own recogniser, and training under compression; needs PyTorch.

Nothing outside this room imports torch, and no normal install brings it: it is the extra `train`.
"""
