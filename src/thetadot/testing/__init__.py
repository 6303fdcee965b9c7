"""The contract of torch.optim as laws, for any optimizer: ours, torch's, yours."""

from thetadot.testing.check import BrokenContract, Finding, check_optimizer
from thetadot.testing.collection import laws
from thetadot.testing.law import BrokenLaw, Law, expect, law
from thetadot.testing.subject import Subject
from thetadot.testing.traits import Traits

__all__ = [
    "BrokenContract",
    "BrokenLaw",
    "Finding",
    "Law",
    "Subject",
    "Traits",
    "check_optimizer",
    "expect",
    "law",
    "laws",
]
