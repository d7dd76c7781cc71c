"""Kernels in PyTorch compute what NumPy's do; their layer is what autograd, its checkers and its tools take it for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.__main__ import main
from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit, emit_torch
from derive.derivation import derive
from derive.language import matrix
from derive.procedures.procedure import OPERATIONS
from derive.targets.numpy.functions import CALLED as IN_NUMPY
from derive.targets.torch.expressions import PRINTING
from derive.targets.torch.functions import CALLED
from derive.targets.torch.weights import recognised
from tests.arguments import Call, hvp, jvp
from tests.example_pages import page, titles
from tests.kernels import module_of
from tests.odd_cells import ODD, D, H, U, h, tanh, x
from tests.odd_cells import cell as odd_cell
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from tests.targets import c_kernels
from tests.targets.c_kernels import Blocks, call_for, hold
from tests.targets.test_c import KEPT, NETWORKS, PAGES, ROOT
from verify.kernel import load_text
from verify.power.measure import Bench

torch = pytest.importorskip("torch", reason="PyTorch isn't installed")


def everything(kernel: ModuleType, call: Call) -> Blocks:
    """Outputs, gradients, tangents, second order and step Jacobians by name."""
    rng = np.random.default_rng(1)
    direction = call.map(lambda array: np.asarray(rng.standard_normal(array.shape)).astype(array.dtype))
    direction.inputs = {name: direction.inputs[name] for name in kernel.INPUTS}
    found = c_kernels.results(kernel, call)
    found |= {("jvp", name): array for name, array in jvp(kernel, call, direction).items()}
    found |= {("hvp", name): array for name, array in hvp(kernel, call, direction).items()}
    _, tape = kernel.forward(*call.groups())
    jacobian = kernel.step_jacobian(call.parameters, tape)
    return found | {("J", name): array for name, array in (jacobian if isinstance(jacobian, dict) else {"": jacobian}).items()}


def torch_and_numpy(cell: Cell) -> tuple[ModuleType, ModuleType]:
    """(the kernel in PyTorch as one of NumPy arrays, the textbook's in NumPy)."""
    derivation = derive(cell)
    return load_text(emit_torch(derivation), "kernel_torch.py"), module_of(emit(derivation, ()))


def test_every_operation_and_function_has_its_text() -> None:
    """A new node has one entry here, too."""
    assert set(PRINTING) == set(OPERATIONS)
    assert set(CALLED) == set(IN_NUMPY)


@pytest.mark.parametrize("words", [*KEPT, *NETWORKS])
def test_it_computes_what_numpy_does(words: str) -> None:
    one, other = torch_and_numpy(build(words))
    for steps, batch, size, hidden in ((5, 3, 5, 6), (3, 1, 2, 3), (0, 2, 3, 4)):
        hold(one, other, call_for(other, steps, batch, D=size, H=hidden), results=everything)
    hold(one, other, call_for(other, 4, 5, D=7, H=9), np.float32, results=everything)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_cell(name: str) -> None:
    hold_cell(odd_cell(name))


@pytest.mark.parametrize("name", SHAPED)
def test_numbers_and_matrices(name: str) -> None:
    hold_cell(shaped_cell(name))


@pytest.mark.parametrize(("name", "title"), PAGES)
def test_a_network(name: str, title: str) -> None:
    """Tokens, losses, sums over steps, attention, two axes."""
    hold_cell(page(name).cell(title).cell)


def hold_cell(cell: Cell) -> None:
    one, other = torch_and_numpy(cell)
    with np.errstate(all="ignore"):
        hold(one, other, call_for(other), results=everything)
        hold(one, other, call_for(other, T=1, B=1, seed=1), results=everything)


# ---- autograd

LAYERS = ["lstm --peephole", "gru --bidirectional", "mlstm", "Character model"]


def layer(name: str) -> ModuleType:
    """The kernel of a cell, a matrix memory or a network with tokens and a loss, as its file is imported."""
    if name in titles("characters.md"):
        return module_of(emit_torch(derive(page("characters.md").cell(name).cell)))
    return module_of(emit_torch(derive(shaped_cell(name) if name in SHAPED else build(name))))


def tensors_of(call: Call) -> list[dict[str, torch.Tensor]]:
    """Parameters, inputs and state as tensors that want gradients."""
    groups = [{name: torch.from_numpy(np.array(one)) for name, one in group.items()} for group in call.groups()]
    return [{name: one.requires_grad_(one.is_floating_point()) for name, one in group.items()} for group in groups]


@pytest.mark.parametrize("name", LAYERS)
def test_pytorch_checks_its_gradients_of_both_orders_and_modes(name: str) -> None:
    kernel = layer(name)
    groups = tensors_of(call_for(kernel, 3, 2, D=2, H=3))
    names = [(k, one) for k, group in enumerate(groups) for one in group]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mappings: list[dict[str, torch.Tensor]] = [{}, {}, {}]
        for (k, one), tensor in zip(names, tensors, strict=True):
            mappings[k][one] = tensor
        return tuple(kernel.run(*mappings).values())

    tensors = [groups[k][one] for k, one in names]
    assert torch.autograd.gradcheck(run, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, tensors, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck_sees_a_planted_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two functions that reverse mode rests on."""
    kernel = layer(name)
    parameters, inputs, state = tensors_of(call_for(kernel, 3, 2, D=2, H=3))
    first = next(iter(parameters))

    def run(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(kernel.run({**parameters, first: tensor}, inputs, state).values())

    def off_in_a_block(function: str, part: str) -> None:
        right = getattr(kernel, function)

        def wrong(*arguments: object) -> object:
            found = right(*arguments)
            getattr(found, part)[first] = getattr(found, part)[first] * 1.01
            return found

        monkeypatch.setattr(kernel, function, wrong)

    off_in_a_block("hvp", "parameters")
    assert torch.autograd.gradcheck(run, [parameters[first]])
    assert not torch.autograd.gradgradcheck(run, [parameters[first]], raise_exception=False)
    off_in_a_block("backward", "parameters")
    assert not torch.autograd.gradcheck(run, [parameters[first]], raise_exception=False)


def test_only_what_wants_a_gradient_gets_one_and_changed_arguments_are_seen() -> None:
    kernel = layer("gru --bidirectional")
    parameters, inputs, state = tensors_of(call_for(kernel, 3, 2, D=2, H=3))
    inputs["x"].requires_grad_(False)
    kernel.run(parameters, inputs, state)["h"].sum().backward()
    assert inputs["x"].grad is None
    assert all(one.grad is not None for one in parameters.values())
    outputs = kernel.run(parameters, inputs, state)
    with torch.no_grad():
        next(iter(parameters.values())).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs["h"].sum().backward()


# ---- the module


def module_and_data(words: str = "lstm --peephole") -> tuple[ModuleType, torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    kernel = layer(words)
    return kernel, kernel.Module(D=4, H=5), torch.randn(6, 3, 4)


def test_the_module_has_the_parameters_of_the_equations_and_keeps_them() -> None:
    kernel, module, x = module_and_data()
    assert list(module.state_dict()) == list(kernel.PARAMETERS)
    other = kernel.Module(D=4, H=5)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x)["h"], module(x)["h"])
    state = {"h": torch.randn(3, 5), "c": torch.randn(3, 5)}
    whole = module(x, state)
    halves = module(x[:3], state)
    halves = module(x[3:], {name: one[-1] for name, one in halves.items()})
    assert torch.allclose(halves["h"], whole["h"][3:])
    assert module.double()(x.double())["h"].dtype == torch.float64


def test_a_parameter_that_is_called_like_a_part_of_every_module_has_a_line_behind_it() -> None:
    cell = Cell("one", "one", [(h, tanh(matrix("half", H, D) @ x + U @ h.prev))])
    kernel = module_of(emit_torch(derive(cell)))
    assert "half" in kernel.PARAMETERS
    module = kernel.Module(D=4, H=5)
    assert list(module.state_dict()) == ["half_", "U"]
    assert module.half().half_.dtype == torch.float16


def test_autocast_leaves_its_numbers_as_they_are() -> None:
    """Its products would be of bfloat16, 3 digits; an input that an autocast layer made is taken."""
    kernel, module, x = module_and_data()
    plain = module(x)["h"]
    plain.sum().backward()
    right = {name: one.grad.clone() for name, one in module.named_parameters()}
    module.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(x)["h"]
        assert torch.equal(found, plain)
        found.sum().backward()
        assert module(x.to(torch.bfloat16))["h"].dtype == torch.float32
        with pytest.raises(ValueError, match="autocast is on"):
            kernel.forward(module.named(), {"x": x})
    assert all(torch.equal(one.grad, right[name]) for name, one in module.named_parameters())


def test_complex_parameters_are_refused_where_gradients_would_be_conjugates() -> None:
    _, module, x = module_and_data()
    module, x = module.to(torch.complex128), x.to(torch.complex128)
    with pytest.raises(ValueError, match="conjugates"):
        module(x)


def test_torch_compile_goes_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, module, x = module_and_data("rnn")
    monkeypatch.setitem(sys.modules, kernel.__name__, kernel)
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), First(module))
    plain = net(x)
    plain.sum().backward()
    right = module.W.grad.clone()
    net.zero_grad()
    compiled = torch.compile(net, backend="aot_eager")
    found = compiled(x)
    found.sum().backward()
    assert torch.allclose(found, plain)
    assert torch.allclose(module.W.grad, right)


class First(torch.nn.Module):
    """The first output of a module."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(next(iter(self.inner(torch.sin(x)).values())))


TORCH_GRU = "gru --reset after --update-gate state --recurrent-bias"
THEIRS = [
    ("rnn --activation relu", lambda: torch.nn.RNN(4, 5, nonlinearity="relu")),
    ("lstm --no-bias", lambda: torch.nn.LSTM(4, 5, bias=False)),
    (f"{TORCH_GRU} --bidirectional", lambda: torch.nn.GRU(4, 5, bidirectional=True)),
    ("lstm --layers 2 --bidirectional", lambda: torch.nn.LSTM(4, 5, 2, bidirectional=True)),
]


@pytest.mark.parametrize(("words", "make"), THEIRS)
def test_weights_come_from_pytorch_s_own_layers_and_go_back(words: str, make: Callable[[], torch.nn.Module]) -> None:
    """Both ways, over layers and directions; the gradients of x agree too."""
    torch.manual_seed(1)
    kernel, theirs, x = layer(words), make().double(), torch.randn(6, 3, 4, dtype=torch.float64)
    module = kernel.Module.from_torch(theirs)
    back = module.to_torch()
    top = "h" if "h" in kernel.OUTPUTS else next(iter(kernel.STATES))
    found = []
    for run in (lambda x: theirs(x)[0], lambda x: module(x)[top], lambda x: back(x)[0]):
        given = x.clone().requires_grad_()
        out = run(given)
        out.square().sum().backward()
        found.append((out.detach(), given.grad))
    for out, gradient in found[1:]:
        assert torch.allclose(out, found[0][0], rtol=1e-12, atol=1e-13)
        assert torch.allclose(gradient, found[0][1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "other", [lambda: torch.nn.GRU(4, 5), lambda: torch.nn.LSTM(4, 5, 2), lambda: torch.nn.LSTM(4, 5, proj_size=3), lambda: 3]
)
def test_weights_of_another_model_are_refused(other: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"another model: expected torch\.nn\.LSTM with num_layers=1"):
        layer("lstm").Module.from_torch(other())


@pytest.mark.parametrize("words", ["lstm --peephole", "gru", "lstm --masked", "lstm --no-candidate-bias", "gru --reset after"])
def test_a_model_that_is_none_of_pytorch_s_has_no_such_methods(words: str) -> None:
    assert recognised(build(words)) is None
    assert not hasattr(layer(words).Module, "from_torch")


def distributed(rank: int, address: str, shared: str) -> None:
    """One of two processes: its half of the batch, gradients averaged by DistributedDataParallel."""
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    _, module, _ = module_and_data()
    given = torch.load(shared, weights_only=True)
    parallel = torch.nn.parallel.DistributedDataParallel(module)
    half = slice(4 * rank, 4 * rank + 4)
    (parallel(given["x"][:, half])["h"] * given["weight"][:, half]).sum().backward()
    if rank == 0:
        torch.save({name: one.grad for name, one in module.named_parameters()}, f"{shared}.gradients")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    """DistributedDataParallel over gloo: the mean of the two halves' gradients is half of the whole batch's."""
    _, module, _ = module_and_data()
    given = {"x": torch.randn(6, 8, 4), "weight": torch.randn(6, 8, 5)}
    shared = str(tmp_path / "given.pt")
    torch.save(given, shared)
    torch.multiprocessing.spawn(distributed, (f"file://{tmp_path / 'meeting'}", shared), nprocs=2)
    (module(given["x"])["h"] * given["weight"]).sum().backward()
    found = torch.load(f"{shared}.gradients", weights_only=True)
    for name, one in module.named_parameters():
        assert torch.allclose(2 * found[name], one.grad, rtol=1e-5, atol=1e-6), name


# ---- the command


@pytest.mark.parametrize(("kind", "proof"), [("flipped sign", "different"), ("time index", "not printed")])
def test_slips_are_printed_and_caught_and_those_that_read_what_no_call_brings_are_left_out(kind: str, proof: str) -> None:
    bench = Bench(build("rnn"), target="torch")
    found = bench.of_slip(kind, bench.edits[kind][0], torch=False)
    assert found.proof == proof
    assert bool(found.caught) == (proof == "different")


def test_derive_writes_and_verifies_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", "--target", "torch", "--out", str(tmp_path)]) == 0
    assert "verified: emitted, hand-written, complex step and central differences agree in 5 blocks" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["rnn_torch.py"]
    assert "numpy" not in (tmp_path / "rnn_torch.py").read_text(encoding="utf-8")
    assert main(["rnn", "--target", "torch", "--schedule", "plain"]) == 2


def test_without_pytorch_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n", encoding="utf-8")
    command = [sys.executable, "-m", "derive", "rnn", "--target", "torch", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "isn't installed" in done.stderr
    assert "python -m pip install torch" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
