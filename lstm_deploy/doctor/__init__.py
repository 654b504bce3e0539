"""What is installed here, whether it works, and if not why and what cures it.

    >>> from lstm_deploy.doctor import describe, diagnose  # doctest: +SKIP
    >>> print(describe(diagnose()))                        # doctest: +SKIP

Whatever can crash or hang (native libraries, the driver) runs in processes of its own.
"""

from .findings import Finding
from .report import Diagnosis, describe, diagnose

__all__ = ["Diagnosis", "Finding", "describe", "diagnose"]
