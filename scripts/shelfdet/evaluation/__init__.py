"""Scoring detections: matching, figures, intervals, breakdowns, and the report."""
