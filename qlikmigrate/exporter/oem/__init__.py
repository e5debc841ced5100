"""OEM accounts → snapshot: what the API gives, and what people hand in because it does not."""
