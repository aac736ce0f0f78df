"""`ocrslim report`: the page of a run, from the files in its folder alone."""
