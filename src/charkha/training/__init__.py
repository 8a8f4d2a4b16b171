"""From features to a bundle: dataset, split, fit, calibration, threshold, evaluation, gates, tracking."""
