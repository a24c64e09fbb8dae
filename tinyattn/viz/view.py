class GraphView:
    def __init__(self, picture, depth):
        from tinyattn.viz import collapse
        self.picture = picture if depth is None else collapse.to_depth(picture, depth)
    @property
    def digraph(self):
        from tinyattn.viz import dot, collapse
        return dot.digraph(collapse.fit(self.picture))
