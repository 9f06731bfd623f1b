"""The hands: actions, screens, devices, tools. Imports nothing from training or workbench."""
