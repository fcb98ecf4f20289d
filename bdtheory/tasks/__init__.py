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
"""

from .absolute import LeastAbsolute
from .classification import digits, label_noise, separable
from .files import Table, align, read_table, write_csv
from .quality import quality
from .regression import linear, noisy_regression
from .safety import safety
from .task import Task

__all__ = [
    "LeastAbsolute",
    "Table",
    "Task",
    "align",
    "digits",
    "label_noise",
    "linear",
    "noisy_regression",
    "quality",
    "read_table",
    "safety",
    "separable",
    "write_csv",
]
