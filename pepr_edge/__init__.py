"""pepr_edge: which model should we deploy on this device, and what did it cost us?

Read `pepr_edge.pipeline` first: it shows the way of the data. Nothing heavy is imported here.
"""

import os

__version__ = "0.2.0"

# ONNX Runtime reports usage by default, and reads this only while it is being imported: it has to be set
# before any module of ours can import it, whichever way the package is entered.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
