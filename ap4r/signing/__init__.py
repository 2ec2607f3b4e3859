"""Signatures of deliveries (Standard Webhooks), and requests whose signature was verified."""
