"""torch.compile for the parts of a training step, each as a whole: without graph breaks, and without a silent fallback."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from isoclock.errors import ParamsError, UserError

if TYPE_CHECKING:
    from isoclock.params.schema import Recipe

CallableT = TypeVar("CallableT", bound=Callable[..., Any])
CUDA_GRAPHS = "reduce-overhead"
RECOMPILATIONS = 4  # of one part: for the outputs that a pre-training and a training ask for, and some reserve
# Limits of one compiled function instead of one Python function, which networks of one architecture share. Older
# versions of torch do not have them.
_LIMITS: dict[str, Any] = {"recompile_limit": RECOMPILATIONS, "isolate_recompiles": True}
if not _LIMITS.keys() <= inspect.signature(torch.compile).parameters.keys():
    _LIMITS = {}


class Compiler:
    """Compiles the parts of one step. `compile` of the recipe names the mode; a part may have a mode of its own.

    A part compiles when it is called first, for the crop of the recipe. Compiled parts share their weights with the modules
    that they were made of, whose state dicts and other calls do not change.
    """

    def __init__(self, recipe: Recipe, device: torch.device, *, backend: str = "inductor") -> None:
        """`backend` is one of torch.compile. Raises ParamsError for CUDA graphs on another device."""
        if recipe.compile == CUDA_GRAPHS and device.type != "cuda":
            raise ParamsError(
                f"training.yaml: compile: {CUDA_GRAPHS}: CUDA graphs need a GPU, and this device is {device.type}; "
                "set it to default or none"
            )
        self.mode = None if recipe.compile == "none" else recipe.compile
        self._backend = backend
        self._parts: list[_Whole] = []

    def __call__(self, name: str, function: CallableT, *, mode: str | None = None) -> CallableT:
        """`function` compiled as a whole; `function` itself if neither the recipe nor `mode` names a mode."""
        if (mode := self.mode or mode) is None:
            return function
        self._parts.append(_Whole(name, function, mode, self._backend))
        return cast("CallableT", self._parts[-1])

    def start_step(self) -> None:
        """What CUDA graphs returned in the step before may be overwritten from now on."""
        if self.mode == CUDA_GRAPHS:
            torch.compiler.cudagraph_mark_step_begin()

    @property
    def not_compiled(self) -> list[str]:
        """Parts that run uncompiled because they cannot be compiled as a whole, each with the reason."""
        return [f"{part.name}: {part.problem}" for part in self._parts if part.problem]


class _Whole:
    """A function compiled as a whole, or as it is from the first call on that cannot be compiled."""

    def __init__(self, name: str, function: Callable[..., Any], mode: str, backend: str) -> None:
        self.name, self.problem = name, ""
        self._plain = function
        self._compiled = torch.compile(function, fullgraph=True, dynamic=False, mode=mode, backend=backend, **_LIMITS)

    def __call__(self, *inputs: Any) -> Any:
        """Raises UserError if the compiler itself fails, for example without a C++ compiler."""
        if self.problem or is_in_torch_dispatch_mode():  # a mode that counts operators must see each of them
            return self._plain(*inputs)
        from torch._dynamo import exc  # it takes a second to import

        try:
            return self._compiled(*inputs)
        except exc.BackendCompilerFailed as error:
            raise UserError(
                f"compile: {self.name}: {_first_line(error)}; see the installation of torch.compile, or set compile: none "
                "and teacher_inference: folded in params/training.yaml"
            ) from error
        except (exc.TorchDynamoException, exc.FailOnRecompileLimitHit) as error:
            self.problem = _first_line(error)
            print(f"isoclock: compile: {self.name} runs uncompiled: {self.problem}", file=sys.stderr, flush=True)
        return self._plain(*inputs)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
