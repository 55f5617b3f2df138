"""Validation data that a Pipeline's scaler has not seen do not go by without a word."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

from numlstm import LSTMClassifier, SequenceScaler

RNG = np.random.default_rng(0)
X, LABELS = 3 * RNG.normal(size=(24, 6, 2)) + [50, 0], np.arange(24) % 2
SMALL = {"hidden_size": 4, "max_iter": 1, "random_state": 0}
FAR = r"X_val must be scaled like X, but the median of channel 0 is 49.* in X_val.*transform_input=\['X_val'\]"


def test_a_pipeline_that_leaves_validation_data_as_they_are():
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL))
    with pytest.warns(UserWarning, match=FAR):
        pipeline.fit(X, LABELS, lstmclassifier__X_val=X, lstmclassifier__y_val=LABELS)
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LSTMClassifier(**SMALL).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(SequenceScaler(), model, transform_input=["X_val"])
        pipeline.fit(X, LABELS, X_val=X, y_val=LABELS)


@pytest.mark.parametrize("X_val", [np.add(X, [29, 0]), X * [1, 100], [x[:1] for x in X], X[:1]])
def test_what_differs_by_less_than_ten_deviations(X_val):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        LSTMClassifier(**SMALL).fit(X, LABELS, X_val=X_val, y_val=LABELS[: len(X_val)])


def test_every_channel_is_looked_at_and_padding_is_not():
    with pytest.warns(UserWarning, match="median of channel 1 is 3"):
        LSTMClassifier(**SMALL).fit(X, LABELS, X_val=np.add(X, [0, 33]), y_val=LABELS)
    with pytest.warns(UserWarning, match=r"and 1 more channels differ"):
        LSTMClassifier(**SMALL).fit(X, LABELS, X_val=X + 40, y_val=LABELS)
    padded, lengths = X.copy(), np.full(24, 2)
    padded[:, 2:] = 1e6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        LSTMClassifier(**SMALL).fit(X, LABELS, X_val=padded, y_val=LABELS, lengths_val=lengths)


def test_constant_channels():
    constant = X * [1, 0] + [0, 0.1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        LSTMClassifier(**SMALL).fit(constant, LABELS, X_val=constant * (1 + 1e-7), y_val=LABELS)
    with pytest.warns(UserWarning, match="median of channel 1"):
        LSTMClassifier(**SMALL).fit(constant, LABELS, X_val=np.add(constant, [0, 0.1]), y_val=LABELS)
