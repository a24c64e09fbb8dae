"""Floor 2: rewriting. Named rules with a soundness class, applied in phases; a verifier after each;
``explain`` shows what fired.
"""
