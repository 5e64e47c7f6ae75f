"""What the methods of an emitted module give: objectives, posteriors, encodings, forecasts."""
