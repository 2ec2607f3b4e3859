"""A small WSDL with one operation, Go, what it may refer to, and the answer of its service."""

from __future__ import annotations

_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
DONE = f'<s:Envelope xmlns:s="{_ENVELOPE}"><s:Body/></s:Envelope>'.encode()
#: `more` is put into its schema.
WSDL = """<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
 <w:types><x:schema targetNamespace="urn:t" elementFormDefault="qualified">{more}
  <x:element name="Go"><x:complexType><x:sequence><x:element name="id" type="x:int"/></x:sequence></x:complexType>
  </x:element></x:schema></w:types>
 <w:message name="In"><w:part name="parameters" element="t:Go"/></w:message>
 <w:portType name="P"><w:operation name="Go"><w:input message="t:In"/></w:operation></w:portType>
 <w:binding name="B" type="t:P"><s:binding transport="http://schemas.xmlsoap.org/soap/http"/>
  <w:operation name="Go"><s:operation soapAction="urn:go"/><w:input><s:body use="literal"/></w:input></w:operation>
 </w:binding>
 <w:service name="S"><w:port name="P" binding="t:B"><s:address location="http://elsewhere/"/></w:port></w:service>
</w:definitions>"""
SCHEMA = b'<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t"/>'
