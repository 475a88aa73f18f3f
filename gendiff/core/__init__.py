"""What every chapter shares: types, records, conditions, arrays, trees, checks, errors. No science."""
