"""Module: something with parameters that can be called.

A module holds its parameters and its parts as plain attributes, in the order in which they are defined, and
says in ``forward`` what it computes from them. Everything else follows from the attributes: the list of
parameters, the state dict with its dotted names, the printed tree, and the module path that every node of the
graph carries.

    class Scorer(nn.Module):
        def __init__(self, width):
            self.hidden = nn.Linear(width, width)
            self.v = ta.parameter(nn.init.normal(width))

        def forward(self, x):
            return ta.tanh(self.hidden(x)) @ self.v

What an attribute is depends on what it holds: a leaf made by ``ta.parameter`` is a parameter, one made by
``ta.tensor`` a buffer (saved with the parameters, but not trained; not saved if its name begins with an
underscore), a Module is a part. It stays what it is: setting it to anything else, or deleting it, is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope, trace
from tinyattn.graph.hints import missing
from tinyattn.graph.leaf import convert, parameter, tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_dtype, fail, is_float
from tinyattn.nn import state


class Module:
    """Base class of everything with parameters. Subclasses define ``forward``; calling a module calls it. Raises
    TinyattnError where it doesn't.
    """

    _path: tuple[str, ...] = ()
    """The attributes that lead to this module from the outermost one, by way of its first parent."""
    _training = True

    def __new__(cls, *args: Any, **kwargs: Any) -> "Module":
        module = object.__new__(cls)
        trace.note_built(module)
        return module

    def __getattr__(self, name: str) -> Any:
        raise missing(type(self).__name__, "module", name, [*vars(self), *dir(type(self))])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        name = type(self).__name__
        fail(errors.TinyattnError, name, "a module must define forward to be called", f"{name} does not")

    @scope.isolated
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = scope.state.scope
        rest = self._path[_overlap(before, self._path) :] if self._path else ()
        if rest:
            scope.state.scope = before + scope.call(rest, type(self).__name__)
        return self.forward(*args, **kwargs)

    # Parts and leaves.

    def __setattr__(self, name: str, value: Any) -> None:
        if not _has_interior(value):  # (which says itself that it belongs to the trace)
            self._check_change(f"a new {name!r}")
        if isinstance(value, (list, tuple, dict)):
            _refuse_hidden_parts(self, name, value)
        held = _role(name, vars(self).get(name))
        if held and _role(name, value) != held:
            _refuse_loss(self, name, held, f"got {type(value).__name__}")
        object.__setattr__(self, name, value)
        if isinstance(value, Module):
            if not value._path:
                value._place((*self._path, name))
        elif _is_leaf(value) and value.name is None:
            value.name = ".".join((*self._path, name))

    def __delattr__(self, name: str) -> None:
        self._check_change(f"del of {name!r}")
        held = _role(name, vars(self).get(name))
        if held:
            _refuse_loss(self, name, held, "got del")
        object.__delattr__(self, name)

    def _check_change(self, what: str) -> None:
        trace.check_change(self, type(self).__name__, what)

    def _place(self, path: tuple[str, ...]) -> None:
        """Take a new path, and pass it on to the parts and leaves that were named after the old one."""
        old, self._path = self._path, path
        for name, part in self._parts():
            if part._path == (*old, name):
                part._place((*path, name))
        for name, value in vars(self).items():
            if _is_leaf(value) and value.name == ".".join((*old, name)):
                value.name = ".".join((*path, name))

    def _parts(self) -> list[tuple[str, "Module"]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def _leaves(self) -> list[tuple[str, Tensor]]:
        """The module's own parameters, then its buffers."""
        own = [(name, leaf, _role(name, leaf)) for name, leaf in vars(self).items()]
        return [(name, leaf) for kind in ("parameter", "buffer") for name, leaf, role in own if role == kind]

    def named_modules(self) -> list[tuple[str, "Module"]]:
        """(dotted path, module) of this module, whose path is empty, and of all modules in it, each once."""
        found: dict[Module, str] = {}
        waiting: list[tuple[tuple[str, ...], Module]] = [((), self)]
        while waiting:
            path, module = waiting.pop()
            if module not in found:
                found[module] = ".".join(path)
                waiting.extend(((*path, name), part) for name, part in reversed(module._parts()))
        return [(path, module) for module, path in found.items()]

    def modules(self) -> list["Module"]:
        """This module and all modules in it, each once."""
        return [module for _, module in self.named_modules()]

    def _named_leaves(self) -> Iterator[tuple[str, Tensor]]:
        # Not by named_modules: a part that is held twice has all its leaves under both names.
        waiting: list[tuple[tuple[str, ...], Module]] = [((), self)]
        while waiting:
            path, module = waiting.pop()
            for name, leaf in module._leaves():
                yield ".".join((*path, name)), leaf
            waiting.extend(((*path, name), part) for name, part in reversed(module._parts()))

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """(dotted name, parameter) in the order of definition; a shared parameter once, by its first name."""
        first: dict[Tensor, str] = {}
        for name, leaf in self._named_leaves():
            if leaf.op.name == "parameter":
                first.setdefault(leaf, name)
        return [(name, leaf) for leaf, name in first.items()]

    def parameters(self) -> list[Tensor]:
        """The trainable leaves, in the order of definition, each once."""
        return [leaf for _, leaf in self.named_parameters()]

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        return sum(leaf.size for leaf in self.parameters())

    # State.

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by dotted name, with torch's keys."""
        return state.save(dict(self._named_leaves()))

    def load_state_dict(self, given: Mapping[str, Any], strict: bool = True) -> state.Loaded:
        """Overwrite parameters and buffers with arrays, ``given`` by the names of ``state_dict``.

        Each array is converted to the element type of its leaf. Raises CheckpointError, before anything is written,
        when a shape differs or, if ``strict``, when a name is missing or unexpected. Returns the missing and
        unexpected names.
        """
        return state.load(type(self).__name__, dict(self._named_leaves()), given, strict)

    def to(self, dtype: Any) -> "Module":
        """Give every floating-point parameter and buffer another element type, ``dtype``: float32 or float64.

        They stay the same leaves, and the moments of optimizers follow them. Compiled functions that may have read
        them are traced again; expressions of them have to be built again. TinyattnError inside a compiled function,
        DTypeError for other element types.
        """
        wanted = as_dtype(dtype, "to")
        if not is_float(wanted):
            fail(errors.DTypeError, "to", "parameters must be float32 or float64", f"got {wanted}")
        held = (value for module in self.modules() for value in vars(module).values())
        convert([value for value in held if _is_leaf(value) and is_float(value.dtype)], wanted)
        return self

    def copy(self) -> "Module":
        """A module like this one, with parameters and parts of its own that hold the same numbers now."""
        return self._copy({})

    def _copy(self, copies: dict[Any, Any]) -> "Module":
        if self in copies:
            return copies[self]
        copies[self] = twin = Module.__new__(type(self))
        for name, value in vars(self).items():
            if isinstance(value, Module):
                value = value._copy(copies)
            elif _is_leaf(value):
                make = parameter if value.op.name == "parameter" else tensor
                if value not in copies:
                    copies[value] = make(value.numpy())
                value = copies[value]
            if name != "_path":
                setattr(twin, name, value)
        return twin

    # Modes.

    @property
    def training(self) -> bool:
        """Whether dropout drops. A compiled function that reads it is traced once for each mode."""
        trace.guard(self, "_training", self._training)
        return self._training

    def train(self, mode: bool = True) -> "Module":
        """Put this module and all modules in it into training mode. Inside a compiled function: at each call."""
        for module in self.modules():
            object.__setattr__(module, "_training", bool(mode))
            trace.guard(module, "_training", bool(mode))
        return self

    def eval(self) -> "Module":
        """Leave training mode."""
        return self.train(False)

    # Text.

    def extra_repr(self) -> str:
        """The settings shown in the printed tree."""
        return ""

    def _shown(self) -> list[tuple[str, Any]]:
        """What stands below the module in the printed tree."""
        return self._parts()

    def __repr__(self) -> str:
        title, below = type(self).__name__, self._shown()
        if not below:
            return f"{title}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        lines += [f"({name}): {part if isinstance(part, Module) else part.__name__}" for name, part in below]
        return "\n  ".join([f"{title}(", *"\n".join(lines).split("\n")]) + "\n)"


def _is_leaf(value: Any, *kinds: str) -> bool:
    return isinstance(value, Tensor) and value.op.name in (kinds or ("parameter", "tensor"))


def _has_interior(value: Any) -> bool:
    """Whether a value is an expression, or holds one."""
    if isinstance(value, (list, tuple, dict)):
        return any(map(_has_interior, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Tensor) and not _is_leaf(value)


def _role(name: str, value: Any) -> str:
    """What an attribute is to the module: a "parameter", a "buffer", a "module", or nothing special."""
    if _is_leaf(value, "parameter"):
        return "parameter"
    if _is_leaf(value, "tensor") and name[0] != "_":
        return "buffer"
    return "module" if isinstance(value, Module) else ""


def _refuse_loss(module: Module, name: str, role: str, got: str) -> NoReturn:
    """A part or a leaf must not get lost: it would no longer be trained or saved."""
    hint = {
        "parameter": f"Write .{name}.assign(array) for other numbers, or set a leaf made by ta.parameter.",
        "buffer": f"Write .{name}.assign(array), or ta.assign in a compiled function, for other numbers.",
        "module": "Set another module, nn.Identity() for one that does nothing.",
    }[role]
    must = f"the attribute {name!r} is a {role} and must stay one"
    fail(errors.TinyattnError, type(module).__name__, must, got, hint)


def _overlap(current: tuple[str, ...], path: tuple[str, ...]) -> int:
    """How much of ``path`` the current scope ends with."""
    longest = min(len(current), len(path))
    return next(k for k in range(longest, -1, -1) if current[len(current) - k :] == path[:k])


def _refuse_hidden_parts(module: Module, name: str, value: Any) -> None:
    held = value.values() if isinstance(value, dict) else value
    if any(isinstance(part, Module) or _is_leaf(part, "parameter") for part in held):
        must = f"the attribute {name!r} must show its modules and parameters"
        got = f"got a {type(value).__name__} of them"
        hint = "Use nn.ModuleList([...]), or one attribute for each."
        fail(errors.TinyattnError, type(module).__name__, must, got, hint)


class ModuleList(Module):
    """``modules`` in a list. Their names are their positions. Raises TinyattnError for what isn't a module."""

    def __init__(self, modules: Iterable[Module] = ()):
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> "ModuleList":
        """Add a module at the end."""
        if not isinstance(module, Module):
            got = f"got {type(module).__name__}"
            fail(errors.TinyattnError, "ModuleList", "the items must be modules", got)
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._parts())

    def __iter__(self) -> Iterator[Module]:
        return iter([part for _, part in self._parts()])

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class ModuleDict(Module):
    """``modules`` by name. A name is a part of the dotted names in the state dict, as an attribute is. Raises
    TinyattnError for what isn't a module, and for names that can't be parts of dotted ones.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()):
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Put all of these in."""
        for name, module in dict(modules).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            got = f"got {type(module).__name__}"
            fail(errors.TinyattnError, "ModuleDict", "the items must be modules", got)
        if (
            not isinstance(name, str)
            or not name
            or "." in name
            or name not in dict(self._parts())
            and hasattr(self, name)
        ):
            must = "a name must be a string without dots that isn't an attribute of modules"
            fail(errors.TinyattnError, "ModuleDict", must, f"got {name!r}")
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Module:
        return dict(self._parts())[name]

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._check_change(f"del of {name!r}")
        object.__delattr__(self, name)

    def __contains__(self, name: str) -> bool:
        return name in dict(self._parts())

    def __len__(self) -> int:
        return len(self._parts())

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._parts()))

    def keys(self) -> Iterable[str]:
        """The names, in the order in which they came."""
        return dict(self._parts()).keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return dict(self._parts()).values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """(name, module) of each."""
        return dict(self._parts()).items()


class Sequential(Module):
    """Steps in order, y = f_n(… f_2(f_1(x))): modules, or functions of one tensor such as ``ta.tanh``. Raises
    TinyattnError for other steps.
    """

    def __init__(self, *steps: Module | Callable[[Tensor], Tensor]):
        for position, step in enumerate(steps):
            if not callable(step):
                got = f"got {type(step).__name__}"
                fail(errors.TinyattnError, "Sequential", "each step must be a module or a function", got)
            setattr(self, str(position), step)

    def _shown(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if name.isdigit()]

    def __len__(self) -> int:
        return len(self._shown())

    def __iter__(self) -> Iterator[Any]:
        return iter([step for _, step in self._shown()])

    def __getitem__(self, index: int) -> Any:
        return list(self)[index]

    def forward(self, x: Tensor) -> Tensor:
        """All steps in order."""
        for step in self:
            x = step(x)
        return x
