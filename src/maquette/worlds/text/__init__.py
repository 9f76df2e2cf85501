"""Real text: the sources inside exactly pinned packages, a folder of the user's, or a Hugging Face dataset."""
