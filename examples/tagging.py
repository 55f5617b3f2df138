"""
What names in Python stand for
==============================

Tell what every name in Python source stands for, with a CRF on top of the LSTM, without one, and with crfsuite.

The sources are modules of Python's standard library (PSF licence), split by file; `ast` says what names stand for: a
function, a class, a method, a parameter, a local or global variable, an attribute, a builtin, an import, or the name of
an argument in a call. A step is a token; tokens that are no names have no label. The tagger learns vectors of
words, prefixes, suffixes and shapes. Prints shares of right names and F1 scores beside those of crfsuite (package
python-crfsuite, part of the extra `examples`), and saves a picture: a piece of source, what the tagger says of it, and
what it learnt about neighbours: `python examples/tagging.py [picture.png] [--short]`.
"""

import ast
import builtins
import io
import keyword
import sys
import sysconfig
import tempfile
import time
import tokenize
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from numlstm import LSTMTagger
from numlstm.metrics import flat_accuracy, flat_f1

LONGEST = 160  # tokens of a sequence


class Scope:
    """What is bound in a module, class or function."""

    def __init__(self, node, parent):
        self.parent, self.bound, self.is_class = parent, {}, isinstance(node, ast.ClassDef)
        self.is_module = parent is None
        body = node.body if isinstance(node.body, list) else [node.body]
        arguments = getattr(node, "args", None)
        for own in ast.walk(arguments) if arguments else ():
            if isinstance(own, ast.arg):
                self.bound[own.arg] = "parameter"
        for child in body:
            self._collect(child)

    def _collect(self, node):
        """Names that a statement binds here, and not further in."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.bound.setdefault(node.name, "method" if self.is_class else "function")
        elif isinstance(node, ast.ClassDef):
            self.bound.setdefault(node.name, "class")
        elif isinstance(node, ast.Lambda):
            return
        else:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.bound.setdefault(node.id, "global" if self.is_module else "local")
            if isinstance(node, ast.ExceptHandler) and node.name:
                self.bound.setdefault(node.name, "global" if self.is_module else "local")
            if isinstance(node, ast.alias):
                self.bound.setdefault((node.asname or node.name).split(".")[0], "import")
            if isinstance(node, ast.Global | ast.Nonlocal):
                self.bound.update(dict.fromkeys(node.names, "global" if isinstance(node, ast.Global) else "local"))
            for child in ast.iter_child_nodes(node):
                self._collect(child)

    def role(self, name):
        """What a name stands for, looked up from here."""
        scope, here = self, True
        while scope is not None:
            if name in scope.bound and (here or not scope.is_class):
                return scope.bound[name]
            scope, here = scope.parent, False
        return "builtin" if hasattr(builtins, name) else "global"


class Roles(ast.NodeVisitor):
    """Roles of names, by line and column; names that the tree has no place for are found by the tokens after it."""

    def __init__(self, tree):
        self.at, self.named = {}, {}
        self.scope = Scope(tree, None)
        self.generic_visit(tree)

    def _within(self, node):
        outer, self.scope = self.scope, Scope(node, self.scope)
        self.generic_visit(node)
        self.scope = outer

    def visit_FunctionDef(self, node):
        """Also of classes and of asynchronous functions: a name, and a scope of its own."""
        self.named[node.lineno, node.name] = self.scope.role(node.name)
        self._within(node)

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_Lambda(self, node):
        """A scope without a name."""
        self._within(node)

    def visit_arg(self, node):
        """A parameter where it is declared."""
        self.at[node.lineno, node.col_offset] = "parameter"
        self.generic_visit(node)

    def visit_Name(self, node):
        """A name that is read or bound."""
        self.at[node.lineno, node.col_offset] = self.scope.role(node.id)

    def visit_Attribute(self, node):
        """What stands after a dot."""
        self.at[node.end_lineno, node.end_col_offset - len(node.attr.encode())] = "attribute"
        self.generic_visit(node)

    def visit_ExceptHandler(self, node):
        """What an exception is called."""
        if node.name:
            self.named[node.lineno, node.name] = self.scope.role(node.name)
        self.generic_visit(node)

    def visit_keyword(self, node):
        """The name of an argument in a call."""
        if node.arg:
            self.at[node.lineno, node.col_offset] = "argument"
        self.generic_visit(node)

    def visit_Import(self, node):
        """All names of the statement."""
        for line in range(node.lineno, node.end_lineno + 1):
            self.named[line, None] = "import"

    visit_ImportFrom = visit_Import


def tokens_of(path):
    """Tokens of a file, and the role of each that is a name."""
    source = path.read_text(encoding="utf-8")
    roles = Roles(ast.parse(source))
    texts, labels = [], []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
            continue
        line, column = token.start
        text, role = token.string, None
        if token.type == tokenize.NAME and not keyword.iskeyword(text):
            column = len(token.line[:column].encode())
            role = roles.at.get((line, column)) or roles.named.get((line, text)) or roles.named.get((line, None))
        texts.append(tokenize.tok_name[token.type] if token.type not in (tokenize.NAME, tokenize.OP) else text)
        labels.append(role)
    return texts, labels


def sequences_of(paths):
    """Pieces of files: their tokens, and the roles of these."""
    tokens, labels = [], []
    for path in paths:
        try:
            texts, roles = tokens_of(path)
        except (SyntaxError, UnicodeDecodeError):
            continue
        for start in range(0, len(texts), LONGEST):
            part = slice(start, start + LONGEST)
            if any(roles[part]):
                tokens.append(texts[part])
                labels.append(roles[part])
    return tokens, labels


def shape(text):
    """Letters as a or A, digits as 0, without repetitions."""
    kinds = ["A" if c.isupper() else "a" if c.isalpha() else "0" if c.isdigit() else c for c in text]
    return "".join(c for k, c in enumerate(kinds) if k == 0 or c != kinds[k - 1])


def table(tokens):
    """What the tagger reads of each token: four categories, each with vectors of its own."""
    columns = {"word": tokens, "prefix": [text[:3] for text in tokens], "suffix": [text[-3:] for text in tokens]}
    return pd.DataFrame(columns | {"shape": [shape(text) for text in tokens]})


def items(tokens):
    """What crfsuite reads of a piece: each token, and its neighbours up to the second."""
    padded = ["<", "<", *tokens, ">", ">"]
    return [
        [f"{k}={padded[t + 2 + k]}" for k in range(-2, 3)]
        + [
            f"prefix={text[:3]}",
            f"suffix={text[-3:]}",
            f"shape={shape(text)}",
            f"{padded[t + 1]}|{text}|{padded[t + 3]}",
        ]
        for t, text in enumerate(tokens)
    ]


def by_crfsuite(train, train_labels, test, iterations):
    """The roles that crfsuite gives."""
    import pycrfsuite

    trainer = pycrfsuite.Trainer("lbfgs", verbose=False)
    trainer.set_params({"c1": 0.1, "c2": 0.01, "max_iterations": iterations})
    for tokens, labels in zip(train, train_labels, strict=True):
        trainer.append(items(tokens), [label or "-" for label in labels])
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(str(Path(folder) / "model"))
        tagger = pycrfsuite.Tagger()
        tagger.open(str(Path(folder) / "model"))
        said = [tagger.tag(items(tokens)) for tokens in test]
        tagger.close()
    return said


def draw(model, tokens, labels, path):
    """A piece of source with what is said of its names, and how well roles go after one another."""
    figure, (text, heat) = plt.subplots(1, 2, figsize=(13, 6), layout="constrained", width_ratios=(3, 2))
    palette = ["black" if k == 7 else f"C{k}" for k in range(10)]  # C7 is the grey of what is no name
    colors = dict(zip(model.classes_.tolist(), palette, strict=False))
    said, line, column = model.predict([table(tokens)])[0], 0, 0
    for token, role, truth in zip(tokens, said, labels, strict=True):
        if token in ("NEWLINE", "INDENT", "DEDENT") or column + len(token) > 62:
            line, column = line + (column > 0), 0
        if token in ("NEWLINE", "INDENT", "DEDENT") or line > 22:
            continue
        color, weight = (colors[role], "bold") if truth else ("0.4", "normal")
        frame = {"edgecolor": "red", "facecolor": "none", "pad": 1} if truth and role != truth else None
        text.text(column, -line, token, color=color, weight=weight, family="monospace", fontsize=9, bbox=frame)
        column += len(token) + 1
    for k, (role, color) in enumerate(colors.items()):
        text.text(16 * (k % 4), -25 - k // 4, role, color=color, weight="bold", fontsize=9)
    text.set(xlim=(0, 64), ylim=(-28, 1), title="roles that are said of names; what is wrong stands in a frame")
    text.axis("off")
    most = abs(model.transitions_).max()
    image = heat.imshow(model.transitions_, cmap="RdBu", vmin=-most, vmax=most)
    names = model.classes_.tolist()
    heat.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="this role", ylabel="after this one")
    heat.set_xticklabels(names, rotation=60, ha="right")
    heat.set_yticklabels(names)
    heat.set_title("transitions of the CRF")
    figure.colorbar(image, ax=heat, shrink=0.7)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main(path="tagging.png", short=False, seed=0):
    """Learn, label, draw; return accuracy and F1 score with the CRF, and those of crfsuite."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = [file for file in sorted(folder.glob("*.py")) if 3_000 < file.stat().st_size < 40_000]
    files += [file for file in sorted(folder.glob("*/*.py")) if "test" not in str(file.relative_to(folder)) and
              "site-packages" not in str(file) and 3_000 < file.stat().st_size < 40_000]  # fmt: skip
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))][: 60 if short else 240]
    cut = len(files) * 3 // 4
    (train, train_labels), (test, truth) = sequences_of(files[:cut]), sequences_of(files[cut:])
    X, X_test = ([table(tokens) for tokens in part] for part in (train, test))
    counts = Counter(label for row in train_labels for label in row if label)
    frequent, names = counts.most_common(1)[0][0], sum(label is not None for row in truth for label in row)
    print(f"{len(train)} pieces of {cut} files to learn from; {names} names in {len(files) - cut} others")
    scores = {f"always {frequent}": [[frequent] * len(row) for row in truth]}
    options = {"hidden_size": 48 if short else 96, "max_iter": 3 if short else 5, "batch_size": 16, "min_frequency": 2,
               "embedding_size": 32, "learning_rate_init": 0.01 if short else 0.005,
               "random_state": seed}  # fmt: skip
    for name, crf in (("LSTM", False), ("LSTM with a CRF", True)):
        if short and not crf:
            continue
        start = time.perf_counter()
        model = LSTMTagger(crf=crf, verbose=sys.stderr.isatty(), **options).fit(X, train_labels)
        print(f"{name}: {model.n_iter_} epochs in {time.perf_counter() - start:.0f} s")
        scores[name] = model.predict(X_test)
    scores["crfsuite"] = by_crfsuite(train, train_labels, test, 20 if short else 100)
    results = {
        name: (flat_accuracy(truth, said), flat_f1(truth, said, labels=[*counts])) for name, said in scores.items()
    }
    for name, (accuracy, f1) in results.items():
        print(f"accuracy {accuracy:.4f}, macro F1 {f1:.4f}: {name}")
    draw(model, test[1], truth[1], path)
    print(f"picture: {path}")
    return results["LSTM with a CRF"], results["crfsuite"]


if __name__ == "__main__":
    main(*[each for each in sys.argv[1:] if each != "--short"], short="--short" in sys.argv)
