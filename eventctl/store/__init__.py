"""Plain SQL, one module for each part of the protocol; peewee for the questions of people."""
