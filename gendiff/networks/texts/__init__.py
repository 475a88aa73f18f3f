"""Networks of texts: language models, with and without pictures, and encoders."""
