"""SOAP: envelopes, descriptions (WSDL) and WS-Security."""
