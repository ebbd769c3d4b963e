"""The attacks that a recipe names: configured, tried out once, fitted if they are universal."""
