"""Floor 2: from a graph to one native program, and the reference interpreter that it is compared with."""
