"""What every room stands on: errors for people, configuration, files, runs, devices, progress.

There is no machine learning in here, and nothing here imports another room.
"""
