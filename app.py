"""`python app.py`: the page in the browser, as a Hugging Face Space starts it; see `depth_unet.page`."""

from depth_unet.page.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
