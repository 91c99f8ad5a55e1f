"""A solution of "schedule": (file, what stands there, what stands there afterwards)."""

EDITS = [
    (
        "train/options.py",
        'choices=("linear", "cosine", "constant"),',
        'choices=("linear", "cosine", "constant", "inverse_sqrt"),',
    ),
    (
        "train/training/optim.py",
        "        falling = 0.5 * (1 + torch.cos(math.pi * progress))\n",
        """\
        falling = 0.5 * (1 + torch.cos(math.pi * progress))
    elif schedule == "inverse_sqrt":
        # As in "Attention is all you need": 1 at the end of the warm-up, then 1 / sqrt(step).
        # Without a warm-up transformers takes 10,000 for its length.
        scale = warmup_steps or 10_000
        falling = ((done + scale - warmup_steps) / scale).rsqrt()
""",
    ),
]
