"""What a plan costs: multiply-adds, bytes, dispatches."""
