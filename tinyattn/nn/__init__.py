"""Floor 4: modules. What holds parameters, the layers made of them, and their initial values.

Constructor arguments, state-dict keys and shapes are torch's, so that weights move between the two.
"""

from tinyattn.nn import init
from tinyattn.nn.layers import Dropout, Embedding, Linear
from tinyattn.nn.module import Module, ModuleList, Sequential
from tinyattn.nn.recurrent import GRU, LSTM, GRUCell, LSTMCell

__all__ = [
    "GRU",
    "LSTM",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "Module",
    "ModuleList",
    "Sequential",
    "init",
]
