"""The door: `python app.py` builds the workbench and serves it at http://localhost:7860."""

from __future__ import annotations

import os
import sys

from executors.errors import WorkbenchError
from executors.permission import allow_real_devices
from workbench.settings import check_port, parse_settings

# Read by gradio and huggingface_hub when they are imported: nothing is reported, and no model is looked up elsewhere
# unless the person asks for it.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def main() -> int:
    """Serves until interrupted; returns the exit code: 2 when the app cannot be started as asked."""
    try:
        settings = parse_settings()
        check_port(settings.host, settings.port)
        if settings.allows_real_devices:
            allow_real_devices()
        from workbench import demo
        from workbench.ui import build_app, launch_options, open_runs

        if settings.is_space:
            demo.lay_out(settings)
        runs = open_runs(settings)
        print(f"TraceR1 Workbench: {settings.url} (Ctrl+C ends it)", flush=True)
        build_app(settings, runs=runs).launch(**launch_options(settings))
    except (WorkbenchError, OSError) as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
