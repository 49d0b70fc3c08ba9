"""Modules and functions outside Keras that only an attacker needs, and the symbols of TensorFlow that are harmless.

Spec: spec/safety.md (SF-003, SF-005, SF-016, SF-021).  Keras: get_symbol_from_name of tf.keras takes any public symbol.
"""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


_RUNS = "runs programs or code"
_LOADS = "imports or loads code"
_PICKLES = "decodes pickles or marshalled code, which runs it"
_FILES = "reads, writes or deletes files"
_NET = "talks to the network"
_MEMORY = "reads and writes memory at will"
_INNER = "reaches into the running interpreter"

# By the first parts of the dotted path; the longest that fits counts.  Roots that people give to modules of their own
# ("code", "test", "profile") stand here with the names that do harm only.
DANGEROUS: dict[str, str] = {
    **dict.fromkeys(("os", "posix", "nt", "subprocess", "_posixsubprocess", "pty", "popen2", "pexpect", "IPython"), _RUNS),
    **dict.fromkeys(("runpy", "codeop", "timeit", "cProfile", "pdb", "bdb", "doctest", "profile.run", "profile.runctx"), _RUNS),
    **dict.fromkeys(("code.interact", "code.InteractiveInterpreter", "code.InteractiveConsole", "code.compile_command"), _RUNS),
    **dict.fromkeys(("multiprocessing", "concurrent.futures", "asyncio", "threading", "_thread", "sched.scheduler"), _RUNS),
    **dict.fromkeys(("pip", "setuptools", "distutils", "ensurepip", "venv", "lib2to3", "pyximport", "trace.Trace"), _RUNS),
    **dict.fromkeys(("numpy.f2py", "numpy.distutils", "numpy.testing", "scipy.weave", "sympy", "jinja2", "mako"), _RUNS),
    **dict.fromkeys(("torch.utils.cpp_extension", "torch.utils.bottleneck", "torch.multiprocessing", "torch.ops"), _RUNS),
    **dict.fromkeys(("jax.experimental.io_callback", "jax.pure_callback", "jax.debug", "jax.profiler"), _RUNS),
    **dict.fromkeys(("importlib", "imp", "pkgutil", "zipimport", "pkg_resources", "torch.classes"), _LOADS),
    **dict.fromkeys(
        ("pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "copyreg"), _PICKLES
    ),
    **dict.fromkeys(("yaml", "ruamel.yaml", "jsonpickle", "pandas", "numpy.load", "np.load"), _PICKLES),
    **dict.fromkeys(("numpy.lib.npyio", "numpy.lib.format", "numpy.core.multiarray", "numpy.lib._npyio_impl"), _PICKLES),
    **dict.fromkeys(("torch.load", "torch.save", "torch.hub", "torch.jit", "torch.serialization", "torch.package"), _PICKLES),
    **dict.fromkeys(("numpy.save", "numpy.savez", "numpy.savez_compressed", "numpy.savetxt", "numpy.memmap"), _FILES),
    **dict.fromkeys(("numpy.loadtxt", "numpy.genfromtxt", "numpy.fromfile", "numpy.fromregex", "numpy.DataSource"), _FILES),
    **dict.fromkeys(("scipy.io", "h5py", "tables", "zarr", "PIL.Image.open", "cv2.imread", "imageio", "orbax"), _FILES),
    **dict.fromkeys(("io", "_io", "shutil", "pathlib", "tempfile", "glob", "fileinput", "linecache", "mmap", "fcntl"), _FILES),
    **dict.fromkeys(("zipfile", "tarfile", "gzip", "bz2", "lzma", "codecs", "dbm", "sqlite3", "fsspec"), _FILES),
    **dict.fromkeys(("posixpath", "ntpath", "genericpath", "filecmp", "mailbox", "netrc"), _FILES),
    **dict.fromkeys(("logging.config", "logging.FileHandler", "logging.basicConfig", "logging.handlers"), _FILES),
    **dict.fromkeys(("socket", "_socket", "socketserver", "ssl", "http", "urllib", "urllib2", "urllib3", "requests"), _NET),
    **dict.fromkeys(
        ("ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "nntplib", "xmlrpc", "webbrowser", "antigravity"), _NET
    ),
    **dict.fromkeys(("httpx", "aiohttp", "paramiko", "boto3", "botocore", "huggingface_hub", "kagglehub", "gdown"), _NET),
    **dict.fromkeys(("tensorflow_hub.load", "tensorflow_hub.resolve", "tensorflow_datasets", "torch.utils.model_zoo"), _NET),
    **dict.fromkeys(("torch.distributed", "transformers.pipeline", "transformers.pipelines"), _NET),
    **dict.fromkeys(("sys", "gc", "inspect", "atexit", "faulthandler", "functools", "_functools", "weakref"), _INNER),
    **dict.fromkeys(("operator.attrgetter", "operator.methodcaller", "operator.itemgetter", "operator.call"), _INNER),
    **dict.fromkeys(("types.FunctionType", "types.CodeType", "types.MethodType", "types.LambdaType"), _INNER),
    **dict.fromkeys(("signal.signal", "resource.setrlimit", "platform.popen", "site.addsitedir", "pydoc", "unittest"), _INNER),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi", "numpy.ctypeslib", "torch._C"), _MEMORY),
}

# Of Python's builtins, those that reach further than their arguments; a function of the user may share the name of another.
BUILTINS: dict[str, str] = {
    **dict.fromkeys(("exec", "eval", "compile", "execfile", "breakpoint", "help", "exit", "quit"), _RUNS),
    **dict.fromkeys(("__import__", "__build_class__", "__loader__", "__spec__"), _LOADS),
    **dict.fromkeys(("open", "file", "input", "raw_input", "print"), _FILES),
    **dict.fromkeys(("getattr", "setattr", "delattr", "hasattr", "vars", "dir", "globals", "locals", "type", "object"), _INNER),
    **dict.fromkeys(("super", "classmethod", "staticmethod", "property", "memoryview", "map", "filter", "iter"), _INNER),
}


_DUNDER = re.compile(r"(?:\A|\.)__\w{1,100}__(?:\.|\Z)")


def danger_of(module: str, name: str) -> str | None:
    """What is wrong with `module.name`; None for what is not known to be dangerous.  Only as many look-ups as it has parts."""
    if module in ("builtins", "__builtin__", "__builtins__"):
        return BUILTINS.get(name.partition(".")[0])
    parts = f"{module}.{name}".split(".", 4)[:4]
    for count in range(len(parts), 0, -1):
        if (found := DANGEROUS.get(".".join(parts[:count]))) is not None:
            return found
    return _INNER if _DUNDER.search(name) else None


# TensorFlow's public symbols, as the op layers of tf.keras name them: "math.add", "__operators__.add", "compat.v1.reduce_sum".
_SAFE_SPACES = words("__operators__ bitwise image linalg math nn quantization ragged random sets signal sparse strings")
_SAFE_TOP = words(
    """
        abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast boolean_mask
        broadcast_dynamic_shape broadcast_static_shape broadcast_to case cast ceil clip_by_global_norm clip_by_norm
        clip_by_value complex concat cond constant convert_to_tensor cos cosh cumsum cross depth_to_space div div_no_nan
        divide dynamic_partition dynamic_stitch edit_distance einsum ensure_shape equal erf exp expand_dims expm1
        extract_image_patches extract_volume_patches eye fill fingerprint floor floordiv floormod foldl foldr gather gather_nd
        greater greater_equal guarantee_const histogram_fixed_width histogram_fixed_width_bins identity identity_n imag
        is_finite is_inf is_nan is_tensor less less_equal linspace log log1p log_sigmoid logical_and logical_not logical_or
        logical_xor map_fn matmul matrix_band_part matrix_diag matrix_inverse matrix_square_root matrix_transpose maximum
        meshgrid minimum mod multiply negative no_op nondifferentiable_batch_function norm not_equal one_hot ones ones_like
        pad parallel_stack pow random_normal random_shuffle random_uniform range rank real realdiv reciprocal
        recompute_grad reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std
        reduce_sum reduce_variance repeat reshape reverse reverse_sequence roll round rsqrt saturate_cast scalar_mul scan
        scatter_nd searchsorted sequence_mask shape shape_n sigmoid sign sin sinh size slice sort space_to_batch
        space_to_batch_nd space_to_depth sparse_to_dense split sqrt square squared_difference squeeze stack stop_gradient
        strided_slice string_split string_to_hash_bucket_fast subtract switch_case tan tanh tensor_scatter_nd_add
        tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile timestamp
        to_double to_float to_int32 to_int64 trace transpose truediv truncatediv truncatemod unique unique_with_counts
        unravel_index unsorted_segment_max unsorted_segment_mean unsorted_segment_min unsorted_segment_prod
        unsorted_segment_sqrt_n unsorted_segment_sum unstack vectorized_map where zeros zeros_like
        """
)
# In spaces that are harmless otherwise.
_UNSAFE_IN_SPACE = frozenset({"nn.embedding_lookup_file", "image.decode_file"})
# Operations that touch files, other machines, Python or state: by the words in their names.
_ACTS = re.compile(
    r"(?:File|PyFunc|Py[A-Z_]|Save|Restore|Read(?!er?Lu)|Write|Record|Summary|Dataset|Iterator|Queue|Print|Assert|Reader|Lookup|Table|"
    r"Debug|Send|Recv|Cluster|Server|Rpc|Collective|Variable|Var(?:Handle|IsInit)|Barrier|Stage|Unstage|Stack(?:Push|Pop|Close)|"
    r"Session|Config|Host|Infeed|Outfeed|Tpu|TPU|Xla|XLA|TensorRT|TRT|Remote|PartitionedCall|SymbolicGradient|Checkpoint|"
    r"Checkpoint|Sql|BigQuery|Bigtable|Kafka|Gcs|S3|Directory|Decode(?:Proto|Compressed)|MergeV2|Library|Sdca|"
    r"Audio(?:Microfrontend)|Lmdb|Immutable|Resource|Accumulator|Abort|Timestamp)"
)
_OP_NAME = re.compile(r"[A-Z][A-Za-z0-9>]*\Z")


def op_is_harmless(name: object) -> bool:
    """Whether an operation of TensorFlow's graph, "AddV2", computes and does nothing else."""
    return isinstance(name, str) and len(name) <= 100 and _OP_NAME.match(name) is not None and _ACTS.search(name) is None


def tf_is_harmless(symbol: object) -> bool:
    """Whether a public symbol of TensorFlow, without "tf." in front, is a function on tensors and nothing more."""
    if not isinstance(symbol, str) or len(symbol) > 200:
        return False
    path = symbol.removeprefix("compat.v1.").removeprefix("compat.v2.")
    space, dot, name = path.rpartition(".")
    if not dot:
        return name in _SAFE_TOP
    if space == "raw_ops":
        return op_is_harmless(name)
    if space == "debugging":
        return name.startswith(("assert_", "check_numerics")) and name.isidentifier()
    root, _, rest = space.partition(".")
    if root == "random" and (rest or name[:1].isupper()):
        return rest == "experimental" and name.startswith("stateless_") and name.isidentifier()
    return root in _SAFE_SPACES and name.isidentifier() and path not in _UNSAFE_IN_SPACE


# Private modules of TensorFlow that hold functions on tensors: what `activation=tf.nn.relu` is called in a config.
_TF_PRIVATE = re.compile(
    r"tensorflow\.python\.ops\.(?:gen_)?(?:nn|math|array|linalg|special_math|clip|bitwise|string|image|signal|nn_impl|random|"
    r"sparse|ragged)(?:_ops|_impl|_grad)?(?:_impl|_v2)?(?:\.ragged_\w+_ops|\.\w+_ops)?\Z"
)
_TYPE_SPECS = frozenset(
    {
        "TensorSpec",
        "RaggedTensorSpec",
        "SparseTensorSpec",
        "IndexedSlicesSpec",
        "TensorArraySpec",
        "OptionalSpec",
        "VariableSpec",
    }
)
_SPEC_MODULES = re.compile(r"(?:tensorflow|tf)(?:\.python\.(?:framework|ops)(?:\.ragged)?\.\w+|\.\w+)?\Z")


def private_tf_is_harmless(module: str, name: str) -> bool:
    return len(module) <= 200 and _TF_PRIVATE.match(module) is not None and name.isidentifier() and not name.startswith("__")


def is_type_spec(module: str | None, name: object) -> bool:
    """Whether it is one of TensorFlow's own type specs, in a module of TensorFlow where one is named."""
    if not isinstance(name, str) or name.removeprefix("tf.") not in _TYPE_SPECS:
        return False
    return module is None or (len(module) <= 200 and _SPEC_MODULES.match(module) is not None)
