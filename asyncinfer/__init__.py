"""asyncinfer: durable background jobs for any Python inference code."""
