"""What stands at the end of a module that calls a C kernel: compiling it on first use, and the call."""

from __future__ import annotations

from derive.targets.numpy.runtime import WORKSPACE

NATIVE = (
    WORKSPACE
    + '''
def _empty(workspace, place, shape, dtype):
    """An array: the one of the workspace where it has one of this shape, else a new one."""
    if workspace is None:
        return np.empty(shape, dtype)
    array = workspace.kept.get(place)
    if array is None or array.shape != shape or array.dtype != dtype:
        array = workspace.kept[place] = np.empty(shape, dtype)
    return array


def _run(function, sizes, dtype, arrays, workspace):
    """Call a function of the C kernel: sizes, then the arrays in the order of its structure, then memory to work in."""
    library = _library(dtype)
    dense = [array if _is_dense(array) else np.require(array, requirements="CA") for array in arrays]
    values = [*(sizes[name] for name in _SIZES), *map(_address, dense), 0]
    call = (ctypes.c_ssize_t * len(values))(*values)
    precision = f"float{8 * dtype.itemsize}"
    needed = getattr(library, f"{_STEM}_{function}_memory_{precision}")
    needed.restype = ctypes.c_ssize_t
    memory = _empty(workspace, f"memory of {function}", (needed(call) + 63,), np.dtype(np.uint8))
    call[-1] = _address(memory) + -_address(memory) % 64
    getattr(library, f"{_STEM}_{function}_{precision}")(call)


def _is_dense(array):
    return type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned


def _address(array):
    """Where the elements begin: the buffer says it sooner than NumPy, if it isn't empty and may be written."""
    if array.size and array.flags.writeable:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    return array.ctypes.data


# ---- compiling, once for each dtype, processor and compiler

_LIBRARIES = {}
_THREADS = [1]


def set_threads(count):
    """How many threads share large products: 1 at first. No number of them changes a bit of a result; one is all that there is where
    the compiler has no OpenMP. Raises ValueError on what is no number of threads.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"set_threads: expected a number of threads >= 1, got {count!r}. Choose as many as there are cores.")
    _THREADS[0] = count
    for dtype, library in _LIBRARIES.items():
        getattr(library, f"{_STEM}_threads_{dtype}")(count)


def _library(dtype):
    """The compiled kernel of a dtype."""
    if dtype not in _LIBRARIES:
        library = ctypes.CDLL(_compiled(dtype))
        getattr(library, f"{_STEM}_threads_{dtype}")(_THREADS[0])
        _LIBRARIES[dtype] = library
    return _LIBRARIES[dtype]


def _compiled(dtype):
    """The path of the compiled kernel in the cache of the user; written beside it and renamed, so that others never see a part of it."""
    source = pathlib.Path(__file__).with_name(f"{_STEM}.c")
    try:
        text = source.read_bytes()
    except OSError as error:
        raise RuntimeError(f"{source}: can't be read: expected the C kernel beside this module, got {error}. Emit both again.") from None
    if hashlib.sha256(text).hexdigest() != _SOURCE:
        raise RuntimeError(f"{source}: isn't the C kernel that this module was emitted with. Emit both again.")
    compiler = _compiler()
    native = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"
    flags = ["-std=gnu11", "-O2", native, "-fPIC", "-shared", *(["-DFLOAT32"] if dtype == np.float32 else [])]
    parts = (text, " ".join([*compiler, *flags]).encode(), _output([*compiler, "--version"]), _processor())
    key = hashlib.sha256(b"\\0".join(parts)).hexdigest()[:24]
    folder = _folder()
    library = folder / f"{_STEM}_{dtype}_{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as made:
            fresh = pathlib.Path(made) / library.name
            command = [*compiler, *flags, "-o", str(fresh), str(source), "-lm"]
            for threads in (["-fopenmp"], []):
                found = subprocess.run([*command, *threads], capture_output=True, text=True)
                if not found.returncode:
                    break
            else:
                raise RuntimeError(f"{source}: {' '.join(compiler)} can't compile it:\\n{found.stderr.strip()[:2000]}")
            os.replace(fresh, library)
    return library


def _compiler():
    """The command of a C compiler."""
    chosen = os.environ.get("CC", "").split()
    for command in ([*([chosen] if chosen else []), ["cc"], ["gcc"], ["clang"]]):
        if shutil.which(command[0]):
            return command
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise RuntimeError(
        f"{_STEM}_c: no C compiler: expected cc, gcc or clang in the PATH. Install one, or: python -m pip install ziglang"
    )


def _output(command):
    return subprocess.run(command, capture_output=True).stdout


def _processor():
    """What tells processors apart whose libraries may differ."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return "\\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})).encode()
    except OSError:
        return " ".join((platform.machine(), platform.processor(), platform.node())).encode()


def _folder():
    """The cache of the user, or a temporary folder where there is none."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (pathlib.Path(root) / "derive-kernels", pathlib.Path(tempfile.gettempdir()) / f"derive-kernels-{getpass.getuser()}"):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise RuntimeError(f"{_STEM}_c: no folder for the compiled kernel: {root} can't be written. Set XDG_CACHE_HOME.")
'''
)
