"""Files of every process: replaced durably, locked, private."""
