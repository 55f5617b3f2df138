"""``python -m numlstm``: print the configuration."""

from .config import show_config

if __name__ == "__main__":
    show_config()
