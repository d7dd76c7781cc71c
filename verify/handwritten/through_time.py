"""The loop over time, written once: a cell brings one step forward and one step backward.

At the interface arrays are time-major with features last: x is (T, B, D), a state (B, H). Inside a step every example
is a column, as in the equations: x is (D, B), h is (H, B), a bias (H, 1), so that `p.W @ x + p.U @ h_prev + p.b` is
what the document prints.

A step backward works on three sets of named arrays:

    p    the parameters
    s    what the step forward kept: its arguments, pre-activations, gates and states
    d    the cotangents. d.h comes in complete: what the output at t gets, plus what step t+1 sends back. d.x and
         d.h_prev come in as zero, d.W, d.U, d.b as their sums over the later steps, and the step adds its share.

So `d.name` adds up over everything that reads `name`, while a local `d_name` is complete in one line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .named import Array, Named
from .refusals import check_inputs, check_parameters, check_states


@dataclass(frozen=True)
class Gradients:
    """Gradients of sum(cotangents * outputs), each array shaped as its primal; `state` is the initial one."""

    parameters: dict[str, Array]
    inputs: dict[str, Array]
    state: dict[str, Array]


@dataclass(frozen=True)
class Tape:
    """What backward needs: the shape of x and, step by step, what the step forward kept."""

    x_shape: tuple[int, ...]
    steps: list[Named]


@dataclass(frozen=True)
class Case:
    """A cell with its gradient, written by hand.

    step_forward(p, x, *previous states) -> Named: everything the step computed and was given, the new states included.
    step_backward(p, s, d): adds to d, see the head of this module.
    """

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    source: str
    step_forward: Callable[..., Named]
    step_backward: Callable[[Named, Named, Named], None]

    def forward(
        self, parameters: Mapping[str, Array], inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], Tape]:
        """Run the cell over a sequence.

        parameters: {W...: (H, D), U... and P...: (H, H), b... and p...: (H,)}; inputs: {"x": (T, B, D)};
        state: {state name: (B, H)}, None = zeros.
        Returns ({state name: (T, B, H)}, tape).
        Raises ValueError on a wrong name, shape or dtype.
        """
        H, D, dtype = check_parameters("forward", parameters, self.parameters)
        T, B = check_inputs("forward", inputs, D, dtype)
        if state is None:
            state = {name: np.zeros((B, H), dtype) for name in self.states}
        check_states("forward: state", state, self.states, (B, H), dtype)

        p = _columns(parameters)
        outputs = {name: np.empty((T, B, H), dtype) for name in self.states}
        previous = [state[name].T for name in self.states]
        steps = []
        for t in range(T):
            s = self.step_forward(p, inputs["x"][t].T, *previous)
            previous = [s[name] for name in self.states]
            for name in self.states:
                outputs[name][t] = s[name].T
            steps.append(s)
        return outputs, Tape(inputs["x"].shape, steps)

    def backward(self, parameters: Mapping[str, Array], tape: Tape, cotangents: Mapping[str, Array]) -> Gradients:
        """Gradients of sum(cotangents * outputs).

        cotangents: {state name: (T, B, H)}; a missing one counts as zero.
        Raises ValueError on a wrong name, shape or dtype.
        """
        H, D, dtype = check_parameters("backward", parameters, self.parameters)
        T, B, _ = tape.x_shape
        cotangents = {name: np.zeros((T, B, H), dtype) for name in self.states} | dict(cotangents)
        check_states("backward: cotangents", cotangents, self.states, (T, B, H), dtype)

        p = _columns(parameters)
        d = Named({name: np.zeros_like(p[name]) for name in self.parameters})
        d_x = np.empty((T, B, D), dtype)
        for name in self.states:
            d[f"{name}_prev"] = np.zeros((H, B), dtype)
        for t in reversed(range(T)):
            for name in self.states:
                # h_t is read twice: by step t+1 as its h_prev, and as the output at t
                d[name] = d[f"{name}_prev"] + cotangents[name][t].T
                d[f"{name}_prev"] = np.zeros((H, B), dtype)
            d.x = np.zeros((D, B), dtype)
            self.step_backward(p, tape.steps[t], d)
            d_x[t] = d.x.T
        return Gradients(
            parameters={name: d[name].reshape(parameters[name].shape) for name in self.parameters},
            inputs={"x": d_x},
            state={name: d[f"{name}_prev"].T for name in self.states},
        )


def _columns(parameters: Mapping[str, Array]) -> Named:
    """Vectors (H,) as columns (H, 1), so that they add to every example."""
    return Named({name: a[:, np.newaxis] if a.ndim == 1 else a for name, a in parameters.items()})
