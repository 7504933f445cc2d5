"""A CUDA device that computes nothing: the GPU path runs on a CPU-only torch.

Tensors on the CPU are real. Tensors on ``cuda`` are torch's fake tensors, with a shape, a dtype and
a device, and no memory, so that networks at the papers' sizes pass in seconds. One dispatch mode
sees every operator: it refuses tensors on two devices, and counts waits of the host, the peak of
memory and the bytes that kernels read and write.

Torch's fake tensors alone cannot run a backward pass on ``cuda`` without CUDA, for autograd asks
for a device guard and for CUDA's hooks. Some lines of C++ register both: two devices, and as in
CUDA a current one for each thread. They must be there before torch is, so `install` comes first in
a process of its own; see rehearsal.py.
"""

import collections
import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

DEVICES = 2
CPP = r"""
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <ATen/detail/CUDAHooksInterface.h>
namespace {
thread_local c10::DeviceIndex current = 0;
constexpr int devices = 2;
using D = c10::Device;
using S = c10::Stream;
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  void setDevice(D d) const override { if (d.index() >= 0) current = d.index(); }
  void uncheckedSetDevice(D d) const noexcept override { setDevice(d); }
  D getDevice() const override { return {type(), current}; }
  D exchangeDevice(D d) const override { D old = getDevice(); setDevice(d); return old; }
  S getStream(D d) const override { return S(S::DEFAULT, d); }
  S getDefaultStream(D d) const override { return S(S::DEFAULT, d); }
  S getNewStream(D d, int) const override { return S(S::DEFAULT, d); }
  S exchangeStream(S s) const override { return s; }
  c10::DeviceIndex deviceCount() const noexcept override { return devices; }
  void record(void**, const S&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const S&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const S&) const override { return true; }
  void synchronizeStream(const S&) const override {}
  void synchronizeEvent(void*) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const S&) const override {}
};
Guard guard;
}
namespace at {
struct CUDAHooks final : CUDAHooksInterface {
  CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isAvailable() const override { return true; }
  bool isBuilt() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return ::current; }
  DeviceIndex deviceCount() const override { return ::devices; }
  DeviceIndex getCurrentDevice() const override { return ::current; }
  int getNumGPUs() const override { return ::devices; }
};
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, CUDAHooks)
}
extern "C" void install() { c10::impl::registerDeviceGuard(c10::DeviceType::CUDA, &guard); }
extern "C" int current_device() { return current; }
extern "C" void set_device(int index) { current = static_cast<c10::DeviceIndex>(index); }
"""


def built(folder: Path) -> Path:
    """The compiled C++ in a folder; made where it is not there yet, which takes seconds."""
    key = hashlib.sha256((CPP + importlib.metadata.version("torch")).encode()).hexdigest()[:12]
    library, root = folder / f"{key}.so", _torch()
    if not library.exists():
        source, part = folder / f"{key}.{os.getpid()}.cpp", folder / f"{key}.{os.getpid()}.so"
        source.write_text(CPP)
        command = ["g++", "-O0", "-shared", "-fPIC", "-std=c++20", f"-I{root}/include", source]
        command += ["-o", part, f"-L{root}/lib", "-lc10", "-ltorch_cpu"]
        subprocess.run(command, check=True)
        source.unlink()
        part.replace(library)
    return library


def install(library: Path) -> ctypes.CDLL:
    """Register guard and hooks; before torch is imported."""
    assert "torch" not in sys.modules, "the fake device must come before torch"
    for name in ("libtorch_global_deps.so", "libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(_torch() / "lib" / name), mode=ctypes.RTLD_GLOBAL)
    native = ctypes.CDLL(str(library))
    native.install()
    return native


def _torch() -> Path:
    return Path(importlib.util.find_spec("torch").origin).parent


NATIVE = install(built(Path(sys.argv[1])))

import torch  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map_only  # noqa: E402

aten = torch.ops.aten
# Their results' sizes hang on values: the host waits for those.
SIZED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero", "equal"}
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
AUTOCAST = torch._C.DispatchKey.AutocastCUDA
WITHOUT_KERNEL = {"device", "detach", "alias", "lift_fresh", "set_", "_unsafe_view"}


class Fake(FakeTensorMode):
    """Fake tensors that never touch the device, whatever torch.cuda.is_available() says."""

    avoid_device_init = True


class FakeCuda(TorchDispatchMode):
    """Real tensors on the CPU, fake ones on cuda, and an account of what happens there.

    Attributes
    ----------
    capacity : float
        Bytes of a device: more of them at once are out of memory.
    current : int
        The process's device.
    live, peak, moved, moved_in_step : int
        Bytes that are there now, that were there at most, and that kernels read and wrote, in all
        and in the last training step.
    section : str
        What the caller says is going on; accounts of waits and of half precision are by it.
    waits : Counter
        (section, kind, place) to how often the host waited for the device.
    half : Counter
        (section, operator) to how many of its results were in half precision.
    """

    def __init__(self, capacity: float) -> None:
        super().__init__()
        self.current = 0
        self.fake = Fake(allow_non_fake_inputs=True)
        self.lock = threading.RLock()
        self.capacity = capacity
        self.sizes: dict[int, int] = {}
        self.pinned: dict[int, object] = {}
        self.autocasts = False
        self.live = 0
        self.section = "other"
        self.reset()

    def become_process_of(self, device: int) -> None:
        """Have the main thread compute on a device, as torchrun's processes do on theirs."""
        self.current = device
        NATIVE.set_device(device)

    def reset(self) -> None:
        """Begin a new account."""
        self.peak = self.live
        self.moved = self.moved_in_step = 0
        self.waits = collections.Counter()
        self.half = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # In inference mode composite operators such as `to` arrive whole.
        if torch.is_inference_mode_enabled() and _is_composite(func):
            # By C++ as on a GPU, since of some torch has decompositions in Python that take other
            # steps; and with autocast as it is outside, which is off within a mode.
            with self:
                included = torch._C._dispatch_tls_local_include_set()
                excluded = torch._C._dispatch_tls_local_exclude_set()
                excluded = excluded.remove(AUTOCAST) if self.autocasts else excluded
                with torch._C._ForceDispatchKeyGuard(included, excluded):
                    return func._op_dk(COMPOSITE, *args, **kwargs)
        if func is aten.is_pinned.default:
            return args[0].untyped_storage()._cdata in self.pinned
        if func is aten._pin_memory.default:
            assert NATIVE.current_device() == self.current, f"pinned by another GPU, at {place()}"
            pinned = args[0].clone()
            storage = pinned.untyped_storage()
            self.pinned[storage._cdata] = pinned  # kept, so that no other has its number
            return pinned
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        fakes = [tensor for tensor in tensors if isinstance(tensor, FakeTensor)]
        device = kwargs.get("device")
        to_cuda = device is not None and torch.device(device).type == "cuda"
        if not to_cuda and not any(tensor.is_cuda for tensor in fakes):
            with self.fake if fakes else contextlib.nullcontext():
                return func(*args, **kwargs)
        with self.lock:
            return self._on_cuda(func, args, kwargs, tensors, to_cuda)

    def _on_cuda(self, func, args, kwargs, tensors, to_cuda):
        name = func._overloadpacket.__name__
        if func is aten._local_scalar_dense.default:
            self._wait("item")
            return 0.5 if args[0].dtype.is_floating_point else args[0].dtype == torch.bool or 1
        if name in SIZED_BY_VALUES:
            self._wait(name)
            raise AssertionError(f"{name} hangs on values on the GPU, at {place()}")
        if name in ("index", "index_put", "index_put_"):
            for index in (index for index in args[1] if index is not None):
                if index.dtype in (torch.bool, torch.uint8) or not index.is_cuda:
                    self._wait("index")
        if name in ("copy_", "_to_copy"):
            source = args[name == "copy_"]
            if name == "copy_" and not args[0].is_cuda:
                self._wait("copy to the host")
                return args[0]
            if not source.is_cuda:
                asked = kwargs.get("non_blocking") or (name == "copy_" and args[2:] == (True,))
                if not (asked and source.untyped_storage()._cdata in self.pinned):
                    self._wait("copy to the device")
        elif not to_cuda and name not in ("index", "index_put_", "set_"):
            self._refuse_two_devices(name, [t for t in tensors if t.is_cuda or t.dim()])
        if name in ("_fused_adam_", "_fused_sgd_"):
            self._refuse_two_layouts(name, *args[: 4 if name == "_fused_adam_" else 3])
        if name == "_fused_sgd_":  # torch has no rule for a fake one
            self.moved += _bytes_of(tensors)
            return None
        result = self.fake.dispatch(func, (), args, kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        for tensor in results:
            if tensor.is_cuda:
                self._track(tensor)
                if tensor.dtype in (torch.bfloat16, torch.float16):
                    self.half[self.section, name] += 1
        if not (func.is_view or name in WITHOUT_KERNEL or "empty" in name):
            self.moved += _bytes_of([*tensors, *results])
        if any(not tensor.is_cuda for tensor in results):
            self._wait("copy to the host")
            result = tree_map_only(FakeTensor, _landed, result)
        return result

    def _refuse_two_devices(self, name, tensors) -> None:
        if len({tensor.device for tensor in tensors}) > 1:
            shapes = [(tuple(tensor.shape), str(tensor.device)) for tensor in tensors]
            raise AssertionError(f"{name} of tensors on two devices {shapes}, at {place()}")

    def _refuse_two_layouts(self, name, *lists) -> None:
        """As fused kernels do, of parameters, gradients and what is kept for them."""
        for alike in zip(*lists, strict=True):
            strides = {
                tuple(s for s, n in zip(t.stride(), t.shape, strict=True) if n > 1) for t in alike
            }
            if len(strides) > 1:
                raise AssertionError(
                    f"{name} of tensors of several layouts {strides}, at {place()}"
                )

    def _wait(self, kind: str) -> None:
        self.waits[self.section, kind, place()] += 1

    def _track(self, tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.sizes:
            return
        if self.live + size > self.capacity:
            raise torch.OutOfMemoryError(f"CUDA out of memory, at {place()}")
        self.sizes[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self.sizes.pop(key, 0)


@functools.cache
def _is_composite(func) -> bool:
    return func.namespace == "aten" and torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), COMPOSITE
    )


def _bytes_of(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_cuda)


def _landed(tensor):
    """A real tensor for what was copied to the host: ones, as nothing was computed."""
    return tensor if tensor.is_cuda else torch.ones(tensor.shape, dtype=tensor.dtype)


def place() -> str:
    """The innermost line of the project that is now being run, or of torch's optimisers."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        for part in ("/renal/", "/torch/optim/"):
            if part in name:
                return f"{name.partition(part)[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


@contextlib.contextmanager
def gpu(patch, *, capability=(9, 0), capacity=80e9, current=0):
    """Within it torch finds two GPUs; yields the account.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
        Undone by the caller.
    capability : tuple of int
        Compute capability of the GPUs: from (8, 0) on they have bfloat16.
    capacity : float
        Bytes of each.
    current : int
        The main thread's device, as torchrun's processes have different ones.
    """
    import concurrent.futures as futures

    from torch.optim import optimizer
    from torch.utils import _foreach_utils

    from renal.learn import datasets

    mode = FakeCuda(capacity)
    capability = tuple(capability)
    for name, value in {
        "is_available": lambda: True,
        "_lazy_init": lambda: None,
        "is_bf16_supported": lambda including_emulation=True: capability >= (8, 0),
        "get_device_capability": lambda device=None: capability,
        "get_device_name": lambda device=None: "fake",
        "current_device": NATIVE.current_device,
        "set_device": lambda device: NATIVE.set_device(getattr(device, "index", device)),
        "device_count": lambda: DEVICES,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "mem_get_info": lambda device=None: (int(mode.capacity - mode.live), int(mode.capacity)),
        "max_memory_allocated": lambda device=None: mode.peak,
        "empty_cache": lambda: None,
    }.items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    patch.setattr(torch.amp.grad_scaler, "amp_definitely_not_available", lambda: False, False)
    patch.setattr(torch._C, "_cuda_getDevice", NATIVE.current_device, False)
    for module in (optimizer, _foreach_utils):
        known = module._foreach_supported_types
        patch.setattr(module, "_foreach_supported_types", [*known, FakeTensor])

    def begin(initializer, arguments) -> None:
        # Modes are a thread's own. The flag: lists that index a tensor become tensors on its
        # device behind the dispatcher otherwise.
        torch._C._set_only_lift_cpu_tensors(True)
        mode.__enter__()
        initializer(*arguments)

    class Reader(futures.ThreadPoolExecutor):
        """In its own thread, but not at the same time: fake tensors are not made for threads."""

        def __init__(self, max_workers, initializer, initargs) -> None:
            super().__init__(max_workers, initializer=begin, initargs=(initializer, initargs))

        def submit(self, *arguments):
            future = super().submit(*arguments)
            futures.wait([future])
            return future

    set_autocast = torch.set_autocast_enabled

    def noted(device, enabled):
        if device == "cuda":
            mode.autocasts = enabled
        set_autocast(device, enabled)

    patch.setattr(torch, "set_autocast_enabled", noted)
    patch.setattr(datasets, "ThreadPoolExecutor", Reader)
    save, load = torch.save, torch.load

    def save_landed(value, *arguments, **keywords):
        return save(tree_map_only(FakeTensor, lambda t: t.cpu(), value), *arguments, **keywords)

    def load_mapped(*arguments, map_location=None, **keywords):
        value = load(*arguments, map_location="cpu", **keywords)
        device = torch.device(map_location or "cpu")
        return tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), value)

    patch.setattr(torch, "save", save_landed)
    patch.setattr(torch, "load", load_mapped)
    mode.become_process_of(current)
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        NATIVE.set_device(0)
