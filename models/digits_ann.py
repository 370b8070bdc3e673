"""An ordinary convolutional network (ReLU, no spikes) for the digits, to be converted into a spiking one.

Images go in as they are, divided by 16: values from 0 to 1.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from . import digits
from .digits_training import Progress, Trained, one_thread

EPOCHS = 25
BATCH = 32
LEARNING_RATE = 4e-3

TARGET = 0.97
"""Test accuracy that training must reach."""


def build() -> nn.Module:
    """The untrained network, always with the same weights: ``[batch, 1, 8, 8] -> [batch, 10]`` logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, digits.CLASSES),
        )


def inputs(images: digits.Array) -> digits.Array:
    """Images ``[batch, 8, 8]`` as the network takes them, float32 ``[batch, 1, 8, 8]``."""
    return (np.asarray(images, np.float32) / digits.BRIGHTEST)[:, None]


def accuracy(module: nn.Module, images: digits.Array, labels: digits.Array) -> float:
    """Share of images whose highest logit is at their label."""
    with torch.no_grad():
        found = module(torch.from_numpy(inputs(images))).argmax(dim=1).numpy()
    return float((found == labels).mean())


def train(progress: Progress | None = None) -> Trained:
    """Train the network on the digits; takes some seconds on one core, the same weights every time."""
    data = digits.load()
    x, labels = torch.from_numpy(inputs(data.train_images)), torch.from_numpy(data.train_labels.copy())
    started = time.perf_counter()
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = build().train()
        optimiser = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * -(-len(x) // BATCH))
        for epoch in range(EPOCHS):
            right = 0
            for chosen in torch.split(torch.randperm(len(x)), BATCH):
                logits = module(x[chosen])
                loss = nn.functional.cross_entropy(logits, labels[chosen])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                right += int((logits.argmax(dim=1) == labels[chosen]).sum())
            if progress:
                progress(epoch + 1, EPOCHS, f"training accuracy {right / len(x):.1%}")
        module.eval()
        seconds = time.perf_counter() - started
        return Trained(
            module,
            accuracy(module, data.test_images, data.test_labels),
            accuracy(module, data.train_images, data.train_labels),
            seconds,
        )
