"""The commands that draw pictures of a prompt: what is asked, what a text or a picture is, and what is written."""
