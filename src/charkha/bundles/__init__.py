"""What a fitted model is: encoding, estimators, calibration, profile, manifest, and the folder on disk.

Training writes bundles and serving reads them; neither needs the other.
"""
