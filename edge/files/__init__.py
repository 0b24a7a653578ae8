"""Files of every process: regular ones alone, replaced durably, locked, private."""
