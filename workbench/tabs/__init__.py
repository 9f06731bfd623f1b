"""One module per tab: each builds its Gradio components from plain handler functions."""
