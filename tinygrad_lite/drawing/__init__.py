"""How anything is drawn: text, pictures and pages. Nothing here knows what a tensor is."""
