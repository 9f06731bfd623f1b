"""Training runs: what a person drafts, the queue, the processes, and what is read back. No gradio, no torch.

A run is a process of its own group that writes its run folder (training.run_folder). The folder is the truth; SQLite
keeps only what no folder can tell yet: what waits, in which order, on which devices. `RunDesk` is the door.
"""
