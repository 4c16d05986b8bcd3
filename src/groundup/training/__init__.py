"""The one training loop, and what a job hands to it.

Pretraining, continuing, instructions, classification and preferences differ in their model, batches and objective,
never in how a step is taken; so there is one loop (`loop.py`) and no trainer to inherit from. Read `loop.py` first,
then `step.py`; everything else here is one decision a file.
"""
