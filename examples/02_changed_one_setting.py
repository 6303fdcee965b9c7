"""I changed one setting: what should the others be? Exact answers, and what the usual approximation misses."""

from thetadot.translation import momentum_at, temperature, to_lr_momentum, to_physical

lr, momentum, batch_size = 0.1, 0.9, 128
physical = to_physical(lr, momentum)
print(f"lr {lr}, momentum {momentum}: time step {physical.step:.4f}, friction {physical.friction:.4f}")

exact, approximate = momentum_at(0.1, momentum), momentum_at(0.1, momentum, approximate=True)
print(f"lr / 10 at the same friction: momentum {exact:.7f} (approximately {approximate:.7f})")

back = to_lr_momentum(*physical)
assert abs(back.lr - lr) < 1e-12
assert abs(back.momentum - momentum) < 1e-12

# The same motion at a tenth of the lr: friction kept by the momentum, temperature by the batch size, T = γs²/(2λB).
batch = batch_size * to_physical(0.1 * lr, exact).step / physical.step
print(f"and at the same temperature: batch size {batch:.1f}")
before = temperature(lr, momentum, 1.0, batch_size)
after = temperature(0.1 * lr, exact, 1.0, batch)
assert abs(after / before - 1) < 1e-12  # T = αs²/(2(1-β)B) in torch's words
