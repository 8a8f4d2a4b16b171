"""From bundles to predictions: the service, its logs, and its HTTP face. Imports neither training nor the tracker."""
