"""Files and folders that somebody else may have prepared: opened without following or waiting."""
