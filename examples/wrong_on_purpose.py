"""Training runs made wrong on purpose, and what their records say.

    python examples/wrong_on_purpose.py

One network on the handwritten digits, a right setting and wrong ones: ten times the learning rate and a tenth of it,
momentum .999, sixteen times the batch and a sixteenth. Every run sees as many samples. What is right was found by a
sweep; the losses show it. Ends with 1 if a fault was not named, or a right run was accused.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import thetadot
from thetadot.verdicts import judge

SAMPLES, EPOCHS = 1500, 20
DATA = load_digits()
X, Y = torch.tensor(DATA.data[:SAMPLES], dtype=torch.float32) / 16, torch.tensor(DATA.target[:SAMPLES])

# optimizer, what was done, lr, momentum, batch size, what the advice has to be
RUNS = [
    ("SGD", "right", 0.1, 0.9, 64, {"leave"}),
    ("SGD", "lr x 10", 1.0, 0.9, 64, {"lower lr"}),
    ("SGD", "lr / 10", 0.01, 0.9, 64, {"raise lr"}),
    ("SGD", "momentum .999", 0.1, 0.999, 64, {"lower momentum"}),
    ("SGD", "batch x 16", 0.1, 0.9, 1024, {"lower batch"}),
    ("SGD", "batch / 16", 0.1, 0.9, 4, {"raise batch", "lower lr"}),
    ("AdamW", "right", 0.005, 0.9, 64, {"leave"}),
    ("AdamW", "lr x 100", 0.5, 0.9, 64, {"lower lr"}),
    ("AdamW", "lr / 10", 0.0005, 0.9, 64, {"raise lr"}),
]


def train(kind: str, lr: float, momentum: float, batch: int) -> tuple[float, thetadot.records.Record]:
    """A plain loop; three lines of it are not of torch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))
    loss_fn = nn.CrossEntropyLoss()
    if kind == "SGD":
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(momentum, 0.999))

    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(X[:256], Y[:256]), dataset_size=SAMPLES) as probe:
        for _ in range(EPOCHS):
            for rows in torch.randperm(SAMPLES).split(batch):
                optimizer.zero_grad()
                loss_fn(model(X[rows]), Y[rows]).backward()
                optimizer.step()

    with torch.no_grad():
        return float(loss_fn(model(X), Y)), probe.record


def main() -> int:
    """Print the table; the number of runs that were judged wrongly."""
    torch.set_num_threads(1)
    wrong = 0
    for kind, done, lr, momentum, batch, expected in RUNS:
        loss, record = train(kind, lr, momentum, batch)
        advice, *verdicts = judge(record)
        named = advice.finding in expected
        accused = done == "right" and any(verdict.state in {"attention", "bad"} for verdict in verdicts)
        wrong += not named or accused
        outcome = "right" if named and not accused else "WRONG"
        print(f"{kind:5} {done:13}  loss {loss:8.3g}   {advice.finding:14} {outcome}")
        print("      " + ", ".join(f"{verdict.name}: {verdict.finding}" for verdict in verdicts))
        print(f"      {advice.says}\n")
    print(f"{len(RUNS) - wrong} of {len(RUNS)} runs were judged rightly.")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
