"""Floor 8: experiments. A model, a task and settings, put together; trained, measured, asked, drawn and reported.

settings     from what was asked for to the whole configuration that config.toml keeps
experiment   ta.Experiment, the door for users of Python and for the command line
training     the model and its baseline, trained one after the other, with a report at the end
evaluation   the answers to a whole split
outcome      what a finished run says: figures, table, report
workload     one training step for timing, profiling and warming up
"""
