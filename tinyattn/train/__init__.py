"""Floor 5: training. Optimizers and schedules as part of the graph, the loop, checkpoints, run folders and
progress.
"""
