"""How alike the bars of pieces are, measured and drawn, and which earlier bars to attend to for it."""
