"""What a run does, stage by stage: find data and model, train, evaluate."""
