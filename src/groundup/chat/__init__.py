"""Conversations to ids and a mask of what is learned: the one place a chat template is applied."""
