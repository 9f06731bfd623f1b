"""Callable tools under the names of GTA and of T3-Agent: one registry, and a toolbox that runs them for an episode.

    registry.py   what a tool is: name, typed arguments, prompt text, needs; the map from T3-Agent's names to GTA's
    offline.py    tools that compute, draw and read images; they run in the sandbox's own process
    files.py      the file inspector, which runs there too
    code.py       tools that run model-written code: python, Solver, Plot
    vision.py     tools that ask a vision-language model behind an OpenAI-compatible server
    outside.py    tools that need the network or weights: off, unless a function is plugged in
    box.py        `Toolbox`: checks a call, runs it, and says what came of it, whatever happens
"""
