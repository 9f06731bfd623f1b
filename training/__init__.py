"""The mind: forecasting, learning, judging. Imports executors only."""
