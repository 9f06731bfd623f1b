"""A window that fills a bare X display and writes what it receives to its output, one JSON object per line.

A text field stands on top, a surface below it. The word "clear" on its input empties both.
"""

import json
import sys
import tkinter as tk


def tell(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def main() -> None:
    """Shows the window until its input ends."""
    root = tk.Tk()
    root.title("Ein Fenster – 窗口")
    width, height = root.winfo_screenwidth(), root.winfo_screenheight()
    root.geometry(f"{width}x{height}+0+0")
    field = tk.Text(root, height=6, insertofftime=0, font=("DejaVu Sans", 12))
    field.pack(fill="x")
    surface = tk.Canvas(root, background="white", highlightthickness=0)
    surface.pack(fill="both", expand=True)

    def on_button(event: tk.Event, name: str) -> None:
        if name == "down":
            surface.create_oval(event.x - 4, event.y - 4, event.x + 4, event.y + 4, fill="red")
        tell(name, button=event.num, x=event.x_root, y=event.y_root, is_shifted=bool(event.state & 1))

    def on_key(event: tk.Event) -> None:
        field.after_idle(lambda: tell("text", text=field.get("1.0", "end-1c"), key=event.keysym, state=event.state))

    def on_input(*_args: object) -> None:
        if not sys.stdin.readline():
            root.destroy()
            return
        field.delete("1.0", "end")
        surface.delete("all")
        root.update()
        tell("cleared")

    surface.bind("<Button>", lambda e: on_button(e, "down"))
    surface.bind("<ButtonRelease-1>", lambda e: on_button(e, "up"))
    surface.bind("<Double-Button-1>", lambda e: on_button(e, "double"))
    surface.bind("<Triple-Button-1>", lambda e: on_button(e, "triple"))
    surface.bind("<B1-Motion>", lambda e: tell("motion", x=e.x_root, y=e.y_root))
    surface.bind("<Motion>", lambda e: tell("hover", x=e.x_root, y=e.y_root))
    field.bind("<Key>", on_key)
    root.createfilehandler(sys.stdin, tk.READABLE, on_input)
    root.update()
    field.focus_force()
    root.update()
    tell("ready")
    root.mainloop()


if __name__ == "__main__":
    main()
