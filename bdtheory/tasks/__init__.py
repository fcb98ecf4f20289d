"""Data with the truth known, and data from files.

| function           | data                                                                      |
| ------------------ | ------------------------------------------------------------------------- |
| `linear`           | squared loss, mu = 0, one keyword per assumption A1 .. A5 (theory.md)     |
| `separable`        | binary logistic, strictly separable validation data, the same keywords    |
| `noisy_regression` | ridge regression with corrupted training targets                          |
| `label_noise`      | binary classification with corrupted training labels                      |
| `digits`           | scikit-learn's handwritten digits with redrawn training labels            |
| `quality`          | questions and answers for a small transformer, bad training answers       |
| `safety`           | the same with harmful questions, complied with in the training data       |
| `read_table`       | a .csv or .npz file, every cell checked                                   |
| `read_rows`        | rows with named columns: .jsonl, .json, .parquet, a `datasets.Dataset`    |
| `read_pairs`       | question-response pairs in such rows; `tokenise` gives their tokens       |
"""

from ..rows import read_rows, write_rows
from .absolute import LeastAbsolute
from .classification import digits, label_noise, separable
from .encoding import Encoded
from .files import Table, align, read_table, write_csv
from .pairs import Pairs, overlap, read_pairs, tokenise
from .quality import quality
from .regression import linear, noisy_regression
from .safety import safety
from .task import Task

__all__ = [
    "Encoded",
    "LeastAbsolute",
    "Pairs",
    "Table",
    "Task",
    "align",
    "digits",
    "label_noise",
    "linear",
    "noisy_regression",
    "overlap",
    "quality",
    "read_pairs",
    "read_rows",
    "read_table",
    "safety",
    "separable",
    "tokenise",
    "write_csv",
    "write_rows",
]
