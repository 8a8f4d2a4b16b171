"""What MLServer reads: the model's file, and settings, in the folder that it is started with."""

import json
import shutil
import sys
from pathlib import Path

from fields import MODEL, PORT, WORKERS

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir()
    shutil.copy(MODEL, folder / "model.bst")
    parameters = {"uri": "./model.bst", "version": "v1"}
    model = {"name": "fields", "implementation": "mlserver_lightgbm.LightGBMModel", "parameters": parameters}
    ports = dict(zip(("http_port", "grpc_port", "metrics_port"), [PORT, *map(int, sys.argv[2:])], strict=True))
    settings = {"host": "127.0.0.1", **ports, "debug": False, "parallel_workers": WORKERS}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(settings))
