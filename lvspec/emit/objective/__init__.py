"""What is maximised: terms of a bound, score terms and their control variates."""
