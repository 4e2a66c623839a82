"""JAX as lamflow uses it: quiet without an accelerator, one thread a process, compiled programs kept on disk.

Call ``configure_jax`` before anything touches a JAX array (importing ``xminigrid`` does). It sets defaults only, so the
standard variables win: JAX_PLATFORMS, XLA_FLAGS, NPROC, JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE.
"""

from __future__ import annotations

import importlib.util
import os
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
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "lamflow" / "jax"


@cache
def configure_jax() -> None:
    """Set the process-wide defaults once; later calls do nothing.

    XLA's CPU client takes one thread a core unless NPROC says otherwise. The environments' programs are many small
    operations that threads do not speed up, and workflow jobs share a machine: hence NPROC=1 and no Eigen pool.
    """
    if not os.environ.get("JAX_PLATFORMS") and not _has_accelerator():
        jax.config.update("jax_platforms", "cpu")
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        directory = _cache_directory()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # no place to keep programs: compile them in each process
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_compilation_cache_max_size", CACHE_LIMIT_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
