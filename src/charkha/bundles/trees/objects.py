"""The kernels as machine code: compiled by Numba once per installation and kind of processor, then only loaded.

Numba takes a second and 150 MB to import; a server has no use for it. What it compiled is kept in a file, and llvmlite
puts it into memory in a tenth of a second. Where there is no such file a server compiles none: it takes another
runtime. Training makes it, and so does `python -m charkha.bundles.trees.objects`, for an image that only serves.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from charkha.bundles.predictor import RuntimeMissing

HERE = Path(__file__).parent
KERNELS = HERE / "kernels.py"
DIGEST_BYTES = 32
POINTER, WHOLE, REAL, SINGLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_float


class Kernel(NamedTuple):
    """One function, twice: called with the interpreter's lock held, and without it."""

    holding: Any
    releasing: Any


def build() -> None:
    """Compile the kernels in a process of its own, unless their file is there. Raises RuntimeMissing."""
    if _found() is not None:
        return
    code = "from charkha.bundles.trees.objects import _compile; _compile()"
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeMissing(f"expected compiled kernels, got: {ran.stderr.strip().splitlines()[-1:]}")


@cache
def kernels() -> Mapping[str, Kernel]:
    """Return the kernels by name, loaded into this process. Raises RuntimeMissing where they were not built."""
    content = _found()
    if content is None:
        raise RuntimeMissing(
            "expected compiled kernels of this installation for this processor, found none. Where charkha[fast] is "
            f"installed, make them: {sys.executable} -m charkha.bundles.trees.objects"
        )
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    objects = msgspec.msgpack.decode(content, type=dict[str, tuple[str, bytes]])
    for _, code in objects.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return {name: _kernel(name, engine.get_function_address(symbol)) for name, (symbol, _) in objects.items()}


# The machine code is gone with its engine.
_ENGINES: list[Any] = []


def _kernel(name: str, address: int) -> Kernel:
    """Return a function of Numba's convention: where to put the answer and the exception, of which there is none."""
    value = SINGLE if "float32" in name else REAL
    common = [POINTER, WHOLE, WHOLE, POINTER, POINTER, POINTER, POINTER, WHOLE, REAL, value, REAL, POINTER, POINTER]
    own = [POINTER] * 2 + [WHOLE] if name.startswith("walk") else [POINTER] * 3 + [WHOLE] + [POINTER] * 3
    signature = (ctypes.c_int32, POINTER, POINTER, *common, *own)
    return Kernel(ctypes.PYFUNCTYPE(*signature)(address), ctypes.CFUNCTYPE(*signature)(address))


def _found() -> bytes | None:
    """Return the machine code that is kept, whole: its digest stands before it."""
    name = _name()
    for folder in _folders() if name else ():
        try:
            kept = (folder / str(name)).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(kept[DIGEST_BYTES:]).digest() == kept[:DIGEST_BYTES]:
            return kept[DIGEST_BYTES:]
    return None


def _folders() -> list[Path]:
    """Return where machine code may be kept: beside this file, or in the user's cache, if the user has a home."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [HERE / "__pycache__", *([Path(caches) / "charkha"] if os.path.isabs(caches) else [])]


def _name() -> str | None:
    """Return what the file is called: another source, version or processor, another name. None without Numba."""
    try:
        import llvmlite.binding as llvm

        made_by = [version("numba"), version("llvmlite")]
    except (ImportError, PackageNotFoundError):
        return None
    processor = [llvm.get_default_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    sources = [KERNELS.read_text("utf-8"), (HERE / "layout.py").read_text("utf-8")]
    digest = hashlib.sha256("\0".join([*made_by, *processor, *sources]).encode()).hexdigest()
    return f"kernels-{digest[:24]}.bin"


def _compile() -> None:
    """Compile the kernels in this process, and keep them in the first folder that may be written."""
    name = _name()
    if name is None:
        raise RuntimeMissing("expected Numba, which is not installed. Install charkha[fast].")
    from charkha.bundles.trees.kernels import compiled

    content = msgspec.msgpack.encode({kernel: (symbol, code) for kernel, symbol, code in compiled()})
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f"{name}.{os.getpid()}"
            partial.write_bytes(hashlib.sha256(content).digest() + content)
            partial.rename(folder / name)
            return
        except OSError:
            continue
    raise RuntimeMissing(f"expected a folder that may be written, got {', '.join(map(str, _folders()))}")


if __name__ == "__main__":
    build()
