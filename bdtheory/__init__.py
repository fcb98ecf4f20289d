"""bdtheory"""
from .hypergradient import hypergradient
from .models import Logistic, Ridge
from .problem import Problem
from .selection import Selection, Status
