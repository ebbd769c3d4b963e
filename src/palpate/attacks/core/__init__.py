"""Parts shared by all attacks: the gradient step, argument checks, random draws, best iterate."""
