"""What scripts/check-helper is made of: the rules, one life of a helper, the checks, and their report."""
