"""JAX as lamflow uses it: quiet without an accelerator, one thread a process, compiled programs kept on disk.

Call ``configure_jax`` before anything touches a JAX array (importing ``xminigrid`` does). What decides about results
(``MEANING``) is ours. For the rest it sets defaults only, so the standard variables win: JAX_PLATFORMS, NPROC,
XLA_PYTHON_CLIENT_PREALLOCATE, JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE, XLA_FLAGS, and those for debugging.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from functools import cache
from pathlib import Path
from typing import Final

import jax

from lamflow.caches import cache_folder

CACHE_LIMIT_BYTES = 2 << 30
"""Size of the compilation cache. A bound also makes JAX lock the cache, so that parallel processes can share it."""

MEANING: Final = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_enable_custom_prng": False,
    "jax_legacy_prng_key": "allow",
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_default_matmul_precision": None,
    "jax_disable_jit": False,
    "jax_transfer_guard": "allow",
}
"""What numbers are drawn and computed, and what of our and of xminigrid's code runs at all: a variable of a user's other work
would give other episodes or stop them."""


def _has_accelerator() -> bool:
    """Whether a JAX plugin for an accelerator is installed and a device for it is visible."""
    has_plugin = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    return (has_plugin and Path("/dev/nvidiactl").exists()) or importlib.util.find_spec("libtpu") is not None


def _processor() -> str:
    """A name for the kind of processor: programs for another one may crash, and clusters share home directories."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


@cache
def configure_jax() -> None:
    """Set the process-wide options once; later calls do nothing.

    XLA's CPU client takes one thread a core unless NPROC says otherwise. The environments' programs are many small
    operations that threads do not speed up, and workflow jobs share a machine: hence NPROC=1.
    """
    if not os.environ.get("JAX_PLATFORMS") and not _has_accelerator():
        jax.config.update("jax_platforms", "cpu")
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch may share the GPU
    for option, value in MEANING.items():
        jax.config.update(option, value)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = cache_folder(f"jax/{_processor()}")
        if folder:  # without a place to keep programs, each process compiles them
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_compilation_cache_max_size", CACHE_LIMIT_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
