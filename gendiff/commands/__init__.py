"""What a person types: `gendiff COMMAND`, one file or folder a command, and the command line that they share."""
