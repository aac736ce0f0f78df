"""Wrong inputs by the hundred, good ones among them, and kills: what becomes of each, command by command.

    PYTHONPATH=tests python -m hostile.run --against .

Nothing here imports `ocrslim`: the code under test is named by its folder, so the same inputs measure any revision.
"""
