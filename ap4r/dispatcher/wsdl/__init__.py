"""Descriptions of SOAP services: fetched, kept and used."""
