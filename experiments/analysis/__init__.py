"""What finished runs come to: estimates, growth, verdicts on claims."""
