"""Judges of drawn images: frozen classifiers in closed form, which no training could bring to its side.

A judge is made from the training images alone, by steps that always give the same, so that figures of different
runs can be compared.
"""

from typing import Protocol

import numpy as np

from tinyattn.tasks.parts.randomness import Stream


class Judge(Protocol):
    """What looks at images (n, C, H, W) with numbers from −1 to 1."""

    def recognise(self, images: np.ndarray) -> np.ndarray:
        """(n,) integers: the class that is seen, or −1 for an image of which it is not sure."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, d) float64: what the Fréchet distance is measured of."""


class PatchClassifier:
    """Patches of the images themselves as filters, and linear regression on what they find (Coates, Ng & Lee
    2011, "An analysis of single-layer networks in unsupervised feature learning").

        f_k = Σ over a quarter of the image of max(0, d_k · W p − 1)        for each patch p of it

    Patches are normalised and whitened by W; the d_k are random ones of unit length. Classes are found by ridge
    regression. The features are the first principal components of f. An image is recognised when they are as near
    to the mean of its class, by Mahalanobis' distance, as those of all but the strangest real images.
    """

    FILTERS, COMPONENTS = 96, 32
    STRANGE = 0.02  # the share of real images that are not recognised
    MOST = 10_000  # real images to learn from: enough, and soon done

    def __init__(self, images: np.ndarray, label: np.ndarray, classes: int):
        images, label = images[: self.MOST], label[: self.MOST]
        self.size = max(3, images.shape[-1] // 5)
        stream = Stream("patches of the judge", 0)
        some = _patches(images[stream.integers(len(images), 2_000)], self.size)
        some = some.reshape(-1, some.shape[-1])
        some = some[stream.integers(len(some), 20_000)]
        values, vectors = np.linalg.eigh(np.cov(some.T))
        whiten = (vectors / np.sqrt(values + 0.1)) @ vectors.T
        lengths = np.linalg.norm((some - some.mean(axis=0)) @ whiten, axis=1)
        chosen = some[lengths > np.median(lengths)][: self.FILTERS]  # not what is all of one colour
        filters = (chosen - some.mean(axis=0)) @ whiten
        filters = whiten @ (filters / np.linalg.norm(filters, axis=1, keepdims=True)).T
        self.filters, self.shift = (
            filters.astype(np.float32),
            (some.mean(axis=0) @ filters + 1).astype(np.float32),
        )

        self.mean, self.deviation = np.zeros(1), np.ones(1)
        found = self._found(images)
        self.mean, self.deviation = found.mean(axis=0), found.std(axis=0) + 1e-3
        found = (found - self.mean) / self.deviation
        self.prior = np.bincount(label, minlength=classes) / len(label)
        gram = found.T @ found / len(found) + 1e-3 * np.eye(found.shape[1])
        self.weights = np.linalg.solve(gram, found.T @ (np.eye(classes)[label] - self.prior) / len(found))
        self.components = np.linalg.eigh(gram)[1][:, -self.COMPONENTS :]
        features = found @ self.components
        self.classes = np.stack([features[label == k].mean(axis=0) for k in range(classes)])
        self.within = np.linalg.inv(np.cov((features - self.classes[label]).T))
        self.farthest = np.quantile(self._distance(features, label), 1 - self.STRANGE)

    def recognise(self, images: np.ndarray) -> np.ndarray:
        found = self._found(images)
        label = (found @ self.weights + self.prior).argmax(axis=1)
        return np.where(self._distance(found @ self.components, label) <= self.farthest, label, -1)

    def features(self, images: np.ndarray) -> np.ndarray:
        return self._found(images) @ self.components

    def _distance(self, features: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Squared, of each row from the mean of its class."""
        apart = features - self.classes[label]
        return ((apart @ self.within) * apart).sum(axis=1)

    def _found(self, images: np.ndarray) -> np.ndarray:
        """f of each image, with mean 0 and deviation 1 in real ones: (n, 4 · FILTERS) float64."""
        parts = []
        for start in range(0, len(images), 250):  # few enough for the caches
            patches = _patches(images[start : start + 250], self.size)
            found = np.maximum(patches @ self.filters - self.shift, 0)
            half = found.shape[1] // 2
            quarters = [
                found[:, a, b]
                for a in (slice(half), slice(half, None))
                for b in (slice(half), slice(half, None))
            ]
            parts.append(np.concatenate([q.sum(axis=(1, 2)) for q in quarters], axis=1))
        return (np.concatenate(parts).astype(np.float64) - self.mean) / self.deviation


def _patches(images: np.ndarray, size: int) -> np.ndarray:
    """All patches of images (n, C, H, W), each with mean 0 and a deviation near 1: (n, H', W', C · size²)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(2, 3))
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(len(images), *windows.shape[2:4], -1)
    patches = patches - patches.mean(axis=-1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=-1, keepdims=True) + np.float32(0.01))
