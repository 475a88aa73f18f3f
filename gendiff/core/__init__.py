"""What every chapter shares: types, records, arrays, trees, checks, errors. No science."""
