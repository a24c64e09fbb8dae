"""Floor 4: modules. What holds parameters, the layers made of them, and their initial values.

Constructor arguments, state-dict keys and shapes are torch's, so that weights move between the two.
"""

from tinyattn.graph.hints import missing
from tinyattn.nn import init
from tinyattn.nn.activations import (
    ELU,
    GELU,
    Flatten,
    Identity,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinyattn.nn.attention import MultiheadAttention
from tinyattn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from tinyattn.nn.cache import KVCache
from tinyattn.nn.convolution import AdaptiveAvgPool2d, AvgPool2d, Conv1d, Conv2d, ConvTranspose2d, MaxPool2d
from tinyattn.nn.layers import Dropout, Embedding, Linear
from tinyattn.nn.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinyattn.nn.module import Module, ModuleDict, ModuleList, Sequential
from tinyattn.nn.norm import GroupNorm, LayerNorm, RMSNorm
from tinyattn.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from tinyattn.nn.spectral import spectral_norm
from tinyattn.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
    sinusoidal_positions,
)

__all__ = [
    "AdaptiveAvgPool2d",
    "GELU",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "Sigmoid",
    "SiLU",
    "ELU",
    "LogSigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
    "ModuleDict",
    "GroupNorm",
    "RNN",
    "RNNCell",
    "GRU",
    "LSTM",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "GRUCell",
    "KVCache",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "RMSNorm",
    "Sequential",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "init",
    "sinusoidal_positions",
    "spectral_norm",
]


def __getattr__(name: str):
    raise missing("tinyattn.nn", "nn", name, __all__, "ta.nn.")
