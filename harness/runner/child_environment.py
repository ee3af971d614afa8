"""What of a driver's environment the process of a network may see."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch

from harness.utils.environment import VARIABLES, setting

# What of the environment a network sees: the system's, and what libraries for computing read.
PASSED = (
    "PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV", "CONDA_PREFIX",
    "PYTHON*", "LD_LIBRARY_PATH", "DYLD_*", "SSL_CERT_*", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "OMP_*", "KMP_*", "GOMP_*", "MKL_*", "DNNL_*", "ONEDNN_*", "OPENBLAS_*", "VECLIB_*", "NUMEXPR_*", "NUMBA_*",
    "MALLOC_*", "TORCH*", "PYTORCH_*", "ATEN_*", "TRITON_*", "CUDA_*", "CUBLAS_*", "CUDNN_*", "NVIDIA_*", "NCCL_*",
    "GLOO_*", "HIP_*", "ROCR_*", "XLA_*", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME",
)  # fmt: skip
# Even among those.
NEVER = ("*TOKEN*", "*SECRET*", "*PASSW*", "*_KEY", "*CREDENTIAL*")


def allowed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a network may see: nothing that is called a key or a password.

    Args:
        environment: the whole of it. SEGBENCH_PASS names what may be seen besides.
    """
    more = [name.strip() for name in (setting("SEGBENCH_PASS") or "").split(",")]
    own = {v.name for v in VARIABLES.values() if v.for_workers}
    return {
        name: value
        for name, value in environment.items()
        if name in own
        or name in more
        or (any(fnmatch(name, p) for p in PASSED) and not any(fnmatch(name.upper(), p) for p in NEVER))
    }
