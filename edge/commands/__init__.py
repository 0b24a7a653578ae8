"""Groups of commands and the options that they share; they load nothing before they run."""
