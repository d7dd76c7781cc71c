"""What makes a JAX kernel one function that JAX differentiates, transposes and batches: the same text for every cell."""

from __future__ import annotations

RUN = '''
# ---- run: the function that JAX transforms


def run(parameters, inputs, state=None):
    """The outputs, {name: (T, B, ...)}: the function to put into jax.jit, jax.grad, jax.jvp, jax.vmap and all that is made of them.

    Arguments as those of forward. Forward mode is `jvp` above, reverse mode `backward`; the gradient moves by `hvp`, in both modes, and
    what jvp gives has `hvp` as its reverse mode. What is left, how a tangent moves along a second one, and third orders, JAX derives
    from the text of these functions.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """
    parameters, inputs, state = jax.tree.map(jnp.asarray, (parameters, inputs, state))
    parameters, inputs, state, *static = _arguments("run", parameters, inputs, state)
    tokens = {name: inputs.pop(name) for name in list(inputs) if name not in INPUTS}
    return _run(tuple(static), (parameters, inputs, state, tokens))[0]


def _outputs(static, point):
    """(outputs, tape) at a point: parameters, inputs, initial state, tokens."""
    parameters, inputs, state, tokens = point
    return _forward(parameters, {**inputs, **tokens}, state, *static)


_run = jax.custom_jvp(_outputs, nondiff_argnums=(0,))


@_run.defjvp
def _run_moved(static, point, along):
    """How outputs move is linear in how the point does; the tape belongs to this call and moves nothing."""
    (point,), (along,) = point, along
    outputs, tape = _run(static, point)
    moved = _apply(_Tangents(static), (point, tape), along[:3], outputs)
    return (outputs, tape), (moved, jax.custom_derivatives.zero_from_primal(tape))


class _Linear:
    """A function that is linear in its last argument. value: what it gives at a point; transposed: what its transpose gives; moved
    and transposed_moved: how they move when the point does."""

    def __init__(self, static):
        self.static = static

    def moved(self, point, along, by):
        return jax.jvp(lambda one: self.value(one, along), (point,), (by,))[1]

    def transposed_moved(self, point, along, by):
        return jax.jvp(lambda one: self.transposed(one, along), (point,), (by,))[1]


class _Tangents(_Linear):
    """Tangents of the outputs along a direction of the point; its transpose gives gradients. The tape moves as the point does."""

    def value(self, point, along):
        (parameters, *_), tape = point
        return _jvp(parameters, tape, *along, *self.static)

    def transposed(self, point, cotangents):
        (parameters, *_), tape = point
        return _triple(_backward(parameters, tape, cotangents, *self.static))

    def moved(self, point, along, by):
        return _apply(_TangentsMoved(self.static), (point[0], along), by[0][:3])

    def transposed_moved(self, point, cotangents, by):
        return _apply(_GradientsMoved(self.static), (point[0], cotangents), by[0][:3])


class _GradientsMoved(_Linear):
    """How gradients move along a direction of the point, cotangents held: a symmetric function, its own transpose."""

    def value(self, point, along):
        (parameters, inputs, state, tokens), cotangents = point
        return _triple(_hvp(parameters, {**inputs, **tokens}, state, cotangents, *along, *self.static))

    transposed = value


class _TangentsMoved(_Linear):
    """How tangents of the outputs move along a second direction; its transpose moves gradients along the first one."""

    def value(self, point, second):
        (*place, tokens), first = point

        def tangents(*place):
            parameters, _, _ = place
            _, tape = _outputs(self.static, (*place, tokens))
            return _jvp(parameters, tape, *first, *self.static)

        return jax.jvp(tangents, tuple(place), second)[1]

    def transposed(self, point, cotangents):
        place, first = point
        return _GradientsMoved(self.static).value((place, cotangents), first)


def _triple(gradients):
    """Gradients as the tuple that the arguments are."""
    return gradients.parameters, gradients.inputs, gradients.state


# ---- linear functions with transposes of their own, as JAX sees them


class _Transpose(_Linear):
    def __init__(self, of):
        self.value, self.transposed = of.transposed, of.value
        self.moved, self.transposed_moved = of.transposed_moved, of.moved


class _Batched(_Linear):
    """A linear function of many points at once, those that `places` names, in front of arrays: (axis or None of each array)."""

    def __init__(self, of, places):
        self.value, self.transposed = (jax.vmap(one, (places, 0)) for one in (of.value, of.transposed))
        self.moved, self.transposed_moved = (
            jax.vmap(one, (places, 0, places)) for one in (of.moved, of.transposed_moved)
        )


def _apply(linear, point, along, like=None):
    """The value of a linear function. like: what has the shapes of it, where that is known without a look at the function."""
    leaves, tree = jax.tree.flatten((point, along))
    shapes, result = jax.tree.flatten(jax.eval_shape(linear.value, point, along) if like is None else like)
    shapes = tuple(jax.ShapeDtypeStruct(one.shape, one.dtype) for one in shapes)
    return jax.tree.unflatten(result, _linear.bind(*leaves, linear=linear, trees=(tree, result), shapes=shapes))


def _evaluated(*leaves, linear, trees, shapes):
    return jax.tree.leaves(linear.value(*jax.tree.unflatten(trees[0], leaves)))


def _abstract(*_, linear, trees, shapes):
    return [jax.core.ShapedArray(one.shape, one.dtype) for one in shapes]


def _moved(primals, tangents, *, linear, trees, shapes):
    """Forward mode: linear in the last argument, by the function's own rule in the point."""
    values = _linear.bind(*primals, linear=linear, trees=trees, shapes=shapes)
    point, along = jax.tree.unflatten(trees[0], primals)
    count = len(jax.tree.leaves(point))
    still = [isinstance(one, ad.Zero) for one in tangents]
    by, turned = jax.tree.unflatten(trees[0], [ad.instantiate_zeros(one) for one in tangents])
    parts = [] if all(still[count:]) else [jax.tree.leaves(_apply(linear, point, turned))]
    parts += [] if all(still[:count]) else [jax.tree.leaves(linear.moved(point, along, by))]
    return values, [sum(terms) for terms in zip(*parts)]


def _transposed(cotangents, *leaves, linear, trees, shapes):
    """Reverse mode: the transpose gives a cotangent for what isn't known of the last argument."""
    unknown = [isinstance(one, ad.UndefinedPrimal) for one in leaves]
    point, _ = jax.tree.unflatten(trees[0], leaves)
    _, like = jax.tree.unflatten(trees[0], [getattr(one, "aval", one) for one in leaves])
    given = jax.tree.unflatten(trees[1], [ad.instantiate_zeros(one) for one in cotangents])
    found = jax.tree.leaves(_apply(_Transpose(linear), point, given, like))
    found = [None] * (len(leaves) - len(found)) + found
    return [one if is_unknown else None for one, is_unknown in zip(found, unknown)]


def _batched(arrays, places, *, linear, trees, shapes):
    """vmap: many points side by side; what the function is linear in lies along the first axis."""
    point, _ = jax.tree.unflatten(trees[0], places)
    count = len(jax.tree.leaves(point, is_leaf=lambda one: one is None))
    size = next(array.shape[place] for array, place in zip(arrays, places) if place is not None)
    front = [
        array if k < count
        else jnp.broadcast_to(array, (size, *array.shape)) if place is None
        else jnp.moveaxis(array, place, 0)
        for k, (array, place) in enumerate(zip(arrays, places))
    ]
    point, along = jax.tree.unflatten(trees[0], front)
    places, _ = jax.tree.unflatten(trees[0], places)
    found = jax.tree.leaves(_apply(_Batched(linear, places), point, along))
    return found, [0] * len(found)


_linear = Primitive("linear")
_linear.multiple_results = True
_linear.def_impl(_evaluated)
_linear.def_abstract_eval(_abstract)
mlir.register_lowering(_linear, mlir.lower_fun(_evaluated, multiple_results=True))
ad.primitive_jvps[_linear] = _moved
ad.primitive_transposes[_linear] = _transposed
batching.primitive_batchers[_linear] = _batched
'''
"""`run`, its derivatives by the functions of the kernel, and the primitive by which JAX knows what is linear and what its transpose is."""

IMPORTS = """import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir"""
