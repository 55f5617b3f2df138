"""Other methods for `accuracy.py`: a plain PyTorch loop, MiniRocket, and trees on summaries of each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from sets import Split


def plain_torch(train: Split, seed: int) -> Any:
    """What users write: an LSTM of 64 units, its last state, a linear layer, Adam, 100 epochs with batches of 32."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    torch.manual_seed(seed)
    classes, codes = np.unique(train.y, return_inverse=True) if not train.regression else (None, None)
    y = torch.tensor(train.y.reshape(len(train.y), -1), dtype=torch.float32) if classes is None else torch.tensor(codes)
    mean, scale = (y.mean(dim=0), y.std(dim=0)) if classes is None else (0, 1)
    X, X_test = ([torch.tensor(x, dtype=torch.float32) for x in part] for part in (train.X, train.X_test))
    lstm = torch.nn.LSTM(X[0].shape[1], 64, batch_first=True)
    head = torch.nn.Linear(64, y.shape[1] if classes is None else len(classes))
    loss_of = torch.nn.MSELoss() if classes is None else torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.005)

    def scores(sequences: list[Any]) -> Any:
        ends = torch.tensor([len(x) - 1 for x in sequences])
        outputs = lstm(pad_sequence(sequences, batch_first=True))[0]  # faster than packed, with equal results
        return head(outputs[torch.arange(len(ends)), ends])

    for _ in range(100):
        for rows in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            target = (y[rows] - mean) / scale if classes is None else y[rows]
            loss_of(scores([X[i] for i in rows]), target).backward()
            torch.nn.utils.clip_grad_norm_([*lstm.parameters(), *head.parameters()], 1.0)
            optimizer.step()
    with torch.no_grad():
        test_scores = torch.cat([scores(X_test[k : k + 256]) for k in range(0, len(X_test), 256)])
    return (test_scores * scale + mean).numpy() if classes is None else classes[test_scores.argmax(dim=1).numpy()]


def minirocket(train: Split, seed: int) -> Any:
    """MiniRocket's features and a ridge (Dempster et al. 2021), by sktime; short sequences repeat their last step."""
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sktime.transformations.panel.rocket import MiniRocketMultivariate

    longest = max(9, *(len(x) for x in train.X + train.X_test))
    X, X_test = (
        np.stack([np.pad(x, ((0, longest - len(x)), (0, 0)), mode="edge").T for x in part])
        for part in (train.X, train.X_test)
    )
    rocket = MiniRocketMultivariate(random_state=seed).fit(X)
    alphas = np.logspace(-3, 3, 10)
    ridge = make_pipeline(StandardScaler(), (RidgeCV if train.regression else RidgeClassifierCV)(alphas=alphas))
    return ridge.fit(rocket.transform(X), train.y).predict(rocket.transform(X_test))


def tree_summaries(train: Split, seed: int) -> Any:
    """Extremely randomised trees on thirteen numbers for each channel, and on the number of steps."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    trees = ExtraTreesRegressor if train.regression else ExtraTreesClassifier
    X, X_test = ([_summary(x) for x in part] for part in (train.X, train.X_test))
    return trees(500, random_state=seed).fit(X, train.y).predict(X_test)


def _summary(x: np.ndarray) -> np.ndarray:
    changes = np.diff(x, axis=0) if len(x) > 1 else np.zeros_like(x)
    quantiles = np.quantile(x, [0.1, 0.25, 0.5, 0.75, 0.9], axis=0)
    parts = (
        x.mean(axis=0),
        x.std(axis=0),
        x.min(axis=0),
        x.max(axis=0),
        x[0],
        x[-1],
        x[len(x) // 2],
        changes.std(axis=0),
    )
    return np.concatenate([*parts, *quantiles, [len(x)]])
