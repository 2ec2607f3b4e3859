"""Descriptions of SOAP services: fetched, cached and used."""
