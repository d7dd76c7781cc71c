"""Between programs and text: `procedure` is the language, `lowering` brings expressions into it, a policy arranges the statements."""
