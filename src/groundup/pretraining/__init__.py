"""Pretraining: the job that turns a person's text into a model, and the planner that sizes it beforehand."""
