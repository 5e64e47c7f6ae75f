"""The methods of an emitted class, one file each."""
