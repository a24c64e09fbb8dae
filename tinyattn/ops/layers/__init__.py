"""What layers compute beside products: recurrent cells, norms, convolutions, pools, and some activations."""
