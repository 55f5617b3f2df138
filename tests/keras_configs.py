"""Pieces of Keras's configurations."""

CUSTOM = {"module": "mine", "class_name": "Mine", "config": {}, "registered_name": "mine>Mine"}
LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAAAAA=", None, None]}}


def layer_of(config, kind):
    """The description of the first layer of a kind, wherever it is."""
    if isinstance(config, dict):
        if config.get("class_name") == kind:
            return config
        config = list(config.values())
    found = (layer_of(each, kind) for each in config) if isinstance(config, list) else ()
    return next((each for each in found if each is not None), None)
