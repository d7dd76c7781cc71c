"""Broken pages, each with the message it gets, to the letter."""

BROKEN = {
    "unbalanced brace": (
        "$$h_t = \\tanh(W x_t + U h_{t-1)$$\n",
        "page.md:1: unbalanced bracket: expected the partner of `{`, got `)`.\n"
        "    $$h_t = \\tanh(W x_t + U h_{t-1)$$\n"
        "                                  ^\n"
        "  page.md:1: opened here:\n"
        "    $$h_t = \\tanh(W x_t + U h_{t-1)$$\n"
        "                              ^\n"
        "Close brackets in the order in which they were opened.",
    ),
    "unknown function": (
        "$$h_t = \\operatorname{tahn}(W x_t + U h_{t-1})$$\n",
        "page.md:1: unknown function `tahn`: expected one of abs, arctan, clip, concat, cos, cosh, cumax, cumsum, diag, elu, erf, "
        "exp, gelu, gelu_erf, hardsigmoid, hardtanh, identity, layernorm, leakyrelu, log, logsoftmax, logsumexp, max, mean, min, mish, "
        "relu, rmsnorm, selu, sigma, sign, silu, sin, sinh, softmax, softplus, softsign, split, sqrt, sum, tanh, var.\n"
        "    $$h_t = \\operatorname{tahn}(W x_t + U h_{t-1})$$\n"
        "            ^^^^^^^^^^^^^^^^^^^\n"
        'Did you mean tanh? Say what it is: --let "tahn=F", F one of these functions. '
        "A function of another form is written out, or defined on the page: `\\phi(a) = ...`.",
    ),
    "shape conflict": (
        "$$h_t = \\tanh(W x_t + b)$$\n\n$$c_t = W \\odot c_{t-1} + h_t$$\n",
        "page.md:3: shape conflict: `W` is a matrix: expected a vector in `W \\odot c_{t-1}`.\n"
        "    $$c_t = W \\odot c_{t-1} + h_t$$\n"
        "            ^\n"
        "  page.md:1: here it is a matrix:\n"
        "    $$h_t = \\tanh(W x_t + b)$$\n"
        "                  ^\n"
        "Beside a vector a symbol without a time index is a matrix; joined by ⊙ ∘ ⊗ * or added to one, a vector.",
    ),
    "circular definition": (
        "$$r_t = \\sigma(W x_t + U z_t)$$\n$$z_t = \\sigma(V r_t + R h_{t-1})$$\n$$h_t = r_t \\odot z_t$$\n",
        "page.md:1: circular definition: r, z need each other at the same step: expected an order.\n"
        "    $$r_t = \\sigma(W x_t + U z_t)$$\n"
        "      ^^^\n"
        "Read one of them at the step before.",
    ),
    "name collision": (
        "$$h_t = \\tanh(W^{(h)} x_t + W_h h_{t-1})$$\n",
        "page.md:1: name collision: `W^{(h)}` and `W_h` would both be called W_h.\n"
        "    $$h_t = \\tanh(W^{(h)} x_t + W_h h_{t-1})$$\n"
        "                                ^^^\n"
        "  page.md:1: the other:\n"
        "    $$h_t = \\tanh(W^{(h)} x_t + W_h h_{t-1})$$\n"
        "                  ^^^^^^^\n"
        "Write one symbol in one way, or rename one of them.",
    ),
    "state never defined": (
        "$$h_t = \\tanh(W x_t + U s_{t-1})$$\n",
        "page.md:1: `s_{t-1}` is a state that is never defined, or an input of the step before: expected to know which.\n"
        "    $$h_t = \\tanh(W x_t + U s_{t-1})$$\n"
        "                            ^^^^^^^\n"
        'For a state, write its equation; for an input, say --let "s=input": its older value is carried in a state.',
    ),
    "no left side": (
        "A step:\n\n$$ = \\tanh(W x_t + U h_{t-1})$$\n",
        "page.md:3: an equation without a left side: expected a symbol, got `=`.\n"
        "    $$ = \\tanh(W x_t + U h_{t-1})$$\n"
        "       ^\n"
        "Write what it defines.",
    ),
    "two definitions": (
        "$$h_t = \\tanh(W x_t + U h_{t-1})$$\n$$h_t = \\sigma(V x_t)$$\n",
        "page.md:2: h is defined twice: expected one definition.\n"
        "    $$h_t = \\sigma(V x_t)$$\n"
        "      ^^^\n"
        "  page.md:1: the first definition:\n"
        "    $$h_t = \\tanh(W x_t + U h_{t-1})$$\n"
        "      ^^^\n"
        "Give each a name of its own, or put the cells under headings of their own; `derive: skip` in a comment passes one over.",
    ),
    "empty page": (
        "Nothing but prose, and $h_t = x_t$ in a sentence.\n",
        "page.md:1: no equations: expected display mathematics such as `$$h_t = \\tanh(W x_t + U h_{t-1})$$`, got a page without display "
        "mathematics. Inline mathematics and code aren't read.",
    ),
    "a gradient": (
        "$$\\frac{\\partial L}{\\partial h_{t-1}} = \\frac{\\partial L}{\\partial h_t} \\frac{\\partial h_t}{\\partial h_{t-1}}$$\n",
        "page.md:1: the page holds no forward equations: expected the step itself, got a gradient formula: \\frac{\\partial L}{\\partial "
        "h_{t-1}} = \\frac{\\partial L}{\\partial h_t} \\frac{\\partial h_t}{\\partial h_{t-1}}\n"
        "Gradients are derived here: write the equations that they are gradients of.",
    ),
    "ambiguous product": (
        "$$r_t = \\sigma(W x_t)$$\n$$h_t = \\tanh(U r_t h_{t-1} + V x_t)$$\n",
        "page.md:2: ambiguous product: `U r_t h_{t-1}` can be read in two ways: expected brackets or an elementwise sign.\n"
        "    $$h_t = \\tanh(U r_t h_{t-1} + V x_t)$$\n"
        "                  ^^^^^^^^^^^^^\n"
        "Write which vectors are multiplied first: `U (r \\odot h)` or `(U r) \\odot h`.",
    ),
    "no input": (
        "$$h_t = \\tanh(U h_{t-1} + b)$$\n",
        "page.md:1: a page without inputs has no steps: expected a symbol that is read at this step and never defined, such as `x_t`.\n"
        "    $$h_t = \\tanh(U h_{t-1} + b)$$\n"
        "      ^^^\n"
        'Write the input with a time index, or say which it is: --let "x=input".',
    ),
}

MISSING = "nowhere/page.md: can't read the page: expected a Markdown, LaTeX or text file, got no such file. Check the path."

ACTIVE = [
    "__import__('os').system('true')",
    r"\input{/etc/passwd}",
    r"$$h_t = \write18{true} x_t$$",
    r"$$h_t = \tanh(x_t) + \csname x\endcsname$$",
    r"\immediate\write18{rm}",
    r"$$\directlua{os.execute()} = x_t$$",
    r"$$h_t = x_t.__class__$$",
]
