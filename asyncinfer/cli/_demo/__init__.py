"""`asyncinfer demo`: real inference on real files, a killed worker, and the proof that nothing was lost."""
