"""One module per `tracer1` subcommand: `add_arguments(parser)` and `run(args) -> int`, imported only when called."""
