"""What all views of the page show alike."""

SHOWN_LONGEST = 1280  # pixels of the pictures on the page; the downloads have all
# Equal steps of depth look equal in the first five; the others have more contrast instead.
COLOUR_MAPS = ["viridis", "magma", "inferno", "plasma", "cividis", "turbo", "Spectral", "gray"]
