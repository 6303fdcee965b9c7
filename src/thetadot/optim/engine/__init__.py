"""What steps an optimizer's parameters: rows of tensors, kernels and plain operations, shards, saved state."""
