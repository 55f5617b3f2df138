"""Scikit-learn's own checks of every estimator and transformer, at default settings."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from numlstm import LSTMClassifier, LSTMRegressor, SequenceEncoder, SequenceImputer, SequenceScaler

MINI_BATCHES = {
    "check_sample_weight_equivalence_on_dense_data": "a repeated sample may fall into another mini-batch than its "
    "twin; scikit-learn allows its MLPClassifier and MLPRegressor to fail this for that reason",
}


def allowed_to_fail(estimator):
    """What each estimator may fail, and why."""
    return MINI_BATCHES if isinstance(estimator, LSTMClassifier | LSTMRegressor) else {}


TRANSFORMERS = [
    SequenceScaler(), SequenceScaler("robust"), SequenceScaler("minmax"), SequenceImputer(),
    SequenceImputer("interpolate"), SequenceImputer("median"),
    SequenceEncoder(handle_unknown="ignore"),  # as OneHotEncoder is checked: the checks transform what fit has not seen
]  # fmt: skip


@parametrize_with_checks([LSTMClassifier(), LSTMRegressor(), *TRANSFORMERS], expected_failed_checks=allowed_to_fail)
def test_check(estimator, check):
    check(estimator)
