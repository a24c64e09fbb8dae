"""A module that follows another: each of its parameters is the mean of those that the other one's has been, the latest
counting most.

    a ← d a + (1 − d) w        after each step, for every parameter w of the other and a decay d below 1

The players of a GAN go round each other; their steps have little to do with how good what is drawn already is. The mean
of many generators in a row draws better images than most of them (Yazıcı et al. 2019, "The unusual effectiveness of
averaging in GAN training"; Karras et al. 2018, section 3, with d = 0.999).

What a module follows by itself in training, statistics of norms and singular vectors, has to belong to its own
parameters: the mean of others' fits none. So a follower has to be called in training, too.
"""

import tinyattn as ta
from tinyattn import nn


def follower(module: nn.Module) -> nn.Module:
    """A copy of a module in which nothing can be trained: all its parameters are buffers, under the same names."""
    twin = module.copy()
    for part in twin.modules():
        for name, leaf in part._leaves():
            object.__setattr__(
                part, name, ta.tensor(leaf.numpy())
            )  # a parameter must stay one, but not in a copy
    return twin


def follow(twin: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the parameters of a follower by 1 − decay towards what those of `module` are before this step."""
    means = dict(twin._named_leaves())
    for name, weight in module.named_parameters():
        ta.assign(means[name], decay * means[name] + (1 - decay) * weight)
