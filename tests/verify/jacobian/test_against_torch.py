"""The joint exponent of an LSTM with open forget gates against torch.func, which shares nothing with this project."""

from __future__ import annotations

import numpy as np
import pytest

from tests import bounds
from tests.verify.jacobian.runs import benettin, run_of
from verify.jacobian import Wanted, analyse
from verify.jacobian.steps import Given
from verify.jacobian.sweeps import start_frame

torch = pytest.importorskip("torch")

T, H = 300, 12
LEARNT = {"steps": T, "H": H, "D": 6, "scale": 0.4, "b_f": np.full(H, 4.0)}


def jacobians() -> np.ndarray:
    """Step Jacobians of (h, c) by torch.func.jacrev along torch's own trajectory, (T, 2H, 2H)."""
    run = run_of("lstm", **LEARNT)
    P = {name: torch.tensor(array, dtype=torch.float64) for name, array in run.parameters.items()}

    def step(joint: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        h, c = joint[:H], joint[H:]
        i, f, o = (torch.sigmoid(P[f"W_{g}"] @ x + P[f"U_{g}"] @ h + P[f"b_{g}"]) for g in "ifo")
        c = f * c + i * torch.tanh(P["W_c"] @ x + P["U_c"] @ h + P["b_c"])
        return torch.cat([o * torch.tanh(c), c])

    joint = torch.tensor(np.concatenate([run.state["h"][0], run.state["c"][0]]), dtype=torch.float64)
    out = []
    for x in torch.tensor(run.inputs["x"][:, 0], dtype=torch.float64):
        out.append(torch.func.jacrev(step)(joint, x).numpy())
        joint = step(joint, x)
    return np.array(out)


def test_joint_exponent_agrees_and_the_one_of_h_alone_is_wrong() -> None:
    J = jacobians()
    result = analyse(run_of("lstm", **LEARNT), Wanted(paths=False, gradient=False))
    joint, alone = benettin(J, start_frame(Given(J), 2 * H)[0]), benettin(J[:, :H, :H], np.eye(H))
    limit = 2 * bounds.exponents(J)  # of either route
    np.testing.assert_allclose(result.exponents[:H], joint[:H], rtol=0, atol=limit)
    assert -0.05 < joint[0] < 0.05
    assert alone[0] < -0.5  # dh_t/dh_{t-1} leaves the cell state out: it says that the LSTM forgets at once
