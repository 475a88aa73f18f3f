"""How fast the library is, beside what people would use instead, on one machine and in one run."""
