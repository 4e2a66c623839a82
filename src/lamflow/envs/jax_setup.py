"""JAX as lamflow uses it: quiet without an accelerator, one thread a process, compiled programs kept on disk.

Call ``configure_jax`` before anything touches a JAX array (importing ``xminigrid`` does). It sets defaults only, so the
standard variables win: JAX_PLATFORMS, NPROC, XLA_PYTHON_CLIENT_PREALLOCATE, JAX_COMPILATION_CACHE_DIR,
JAX_ENABLE_COMPILATION_CACHE.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import jax

CACHE_LIMIT_BYTES = 2 << 30
"""Size of the compilation cache. A bound also makes JAX lock the cache, so that parallel processes can share it."""


def _has_accelerator() -> bool:
    """Whether a JAX plugin for an accelerator is installed and a device for it is visible."""
    has_plugin = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    return (has_plugin and Path("/dev/nvidiactl").exists()) or importlib.util.find_spec("libtpu") is not None


def _cache_directory() -> Path:
    """One directory a kind of processor: programs for another one may crash, and clusters share home directories."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    kind = f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
    return root / "lamflow" / "jax" / kind


@cache
def configure_jax() -> None:
    """Set the process-wide defaults once; later calls do nothing.

    XLA's CPU client takes one thread a core unless NPROC says otherwise. The environments' programs are many small
    operations that threads do not speed up, and workflow jobs share a machine: hence NPROC=1.
    """
    if not os.environ.get("JAX_PLATFORMS") and not _has_accelerator():
        jax.config.update("jax_platforms", "cpu")
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch may share the GPU
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        directory = _cache_directory()
        with suppress(OSError):  # without a place to keep programs, each process compiles them
            directory.mkdir(parents=True, exist_ok=True)
        if os.access(directory, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(directory))
            jax.config.update("jax_compilation_cache_max_size", CACHE_LIMIT_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
