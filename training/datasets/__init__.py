"""One importer per data set, each yielding `executors.trajectory.Trajectory`."""
