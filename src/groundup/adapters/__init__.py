"""LoRA and its kin: a few trained numbers beside the frozen matrices of any model.

Its one idea: surgery. A linear map of a built model is wrapped (layers.py), the model never knows; what was trained is
written in PEFT's format (checkpoints/adapter_folder.py), so that every other tool reads it.
"""
