"""Other ways to run a model than torch in this process."""
