"""What all views of the page share."""

SHOWN_LONGEST = 1280  # pixels of the pictures on the page; the downloads have all
SENT_LONGEST = 2560  # pixels of a JPEG that the browser sends; the networks see a quarter of them
# Equal steps of depth look equal in the first five; the others have more contrast instead.
COLOUR_MAPS = ["viridis", "magma", "inferno", "plasma", "cividis", "turbo", "Spectral", "gray"]
PICTURE_HEIGHT = "min(26rem, 85vw)"
# Events of the page, which are no endpoints for programs; the quiet ones show no progress over their outputs.
PRIVATE = {"api_visibility": "private"}
QUIET = {**PRIVATE, "show_progress": "hidden"}
