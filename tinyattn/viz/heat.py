def heatmap(): pass
class Heatmap: pass
