"""The page with a server: who may ask it, and the process in which a script is run."""
