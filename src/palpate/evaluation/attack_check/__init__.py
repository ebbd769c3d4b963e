"""Checks of an attack against the contract that evaluation relies on."""
