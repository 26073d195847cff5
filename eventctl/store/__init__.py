"""Plain SQL, one module for each part of the protocol; peewee for queries by people."""
