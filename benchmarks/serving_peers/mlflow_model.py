"""The model as MLflow keeps it, in a folder that it can serve."""

import sys

import lightgbm
import mlflow.lightgbm
import numpy as np
import pandas as pd
from fields import CATEGORIES, FIELDS, MODEL
from mlflow.models import infer_signature

if __name__ == "__main__":
    booster = lightgbm.Booster(model_file=MODEL)
    rows = pd.DataFrame(np.zeros((5, len(FIELDS))), columns=list(FIELDS)).astype(dict.fromkeys(CATEGORIES, "int64"))
    signature = infer_signature(rows, np.asarray(booster.predict(rows.to_numpy())))
    mlflow.lightgbm.save_model(booster, sys.argv[1], signature=signature)
